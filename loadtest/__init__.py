"""Load on a transformer, with the same seeded traffic every time."""
