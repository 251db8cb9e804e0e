"""Turns the inference topic into windows of statistics and drift verdicts, on Spark Structured Streaming."""
