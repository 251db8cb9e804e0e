"""What has changed about the outlier scores, in a sentence."""

from __future__ import annotations

from typing import Final

from tidegauge.causes.cause import Cause, percent
from tidegauge.summaries.p_value_counts import EDGES
from tidegauge.summaries.window_summary import WindowSummary

SHARES: Final = (0.001, 0.01, 0.1, 0.5)
"""P-values up to these are compared, the rarest first."""

CLEARLY: Final = 1.5
"""So many times the expected share is told; below, the next share is looked at."""


def change_of_scores(name: str, summary: WindowSummary) -> Cause:
    """name: that the report has for the scores, which have drifted."""
    assert summary.p_values is not None, "scores without p-values cannot drift"
    counts = summary.p_values.weighted().counts[:-1]
    rows = float(counts.sum())
    found = {share: float(counts[: EDGES.index(share) + 1].sum()) / rows for share in SHARES}
    told = next((share for share in SHARES if found[share] > CLEARLY * share), SHARES[-1])
    return Cause(
        feature=name,
        kind="scores",
        effect=found[told] - told,
        unit="share of rows",
        sentence=f"{name}: {percent(found[told])} of the rows are as unusual as {percent(told)} of the baseline's are",
        evidence={"expected_share": told, "share": found[told]},
        mass=abs(found[told] - told),
    )
