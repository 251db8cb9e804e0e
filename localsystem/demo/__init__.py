"""The demonstration: real requests scored, logged and judged, with a drift of known size."""
