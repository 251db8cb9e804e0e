"""
Programs that run in environments of their own, one for each peer that our dependencies do not agree with.

Each takes a directory with reference.npy, float32 (baselines, rows, features), and windows.npy, float32 (baselines,
windows, rows, features), and writes into it NAME.npy, float64 (baselines, windows, features), for each of its tests:
p-values, or distances where NAME ends in "distance"; and version.json.
"""
