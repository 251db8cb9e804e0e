"""Tidegauge: watches a served model. The kernel: every statistic, score and test is defined here, once."""
