"""A whole Tidegauge on this machine: broker, predictor and our own parts, started on free ports and always stopped."""
