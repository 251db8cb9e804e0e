"""Measurements beside peers, in one run on one machine. Not part of the tests."""
