"""A window's report as plain text, for terminals and logs."""

from __future__ import annotations

from typing import Final

from tidegauge.drift.results import Measured
from tidegauge.extensions import is_extension
from tidegauge.report import FeatureReport, WindowReport

HEADINGS: Final = {
    "drift": "drift",
    "no_drift": "no drift",
    "learning": "learning: how traffic varies is not known yet",
    "unknown": "unknown: nothing could be tested",
}

COLUMNS: Final = ("feature", "drift", "p-value", "nats", "location", "missing", "what changed")


def text_of(report: WindowReport) -> str:
    head = f"{report.monitor} version {report.version}: {HEADINGS[report.verdict]} ({', '.join(_counts(report))})"
    rows = [COLUMNS, *(row_of(report, one) for one in ordered(report))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    others = [cause.sentence for cause in report.causes if cause.other]
    below = [further(report), others]
    return "\n".join([head, "", *table, *(line for lines in below if lines for line in ("", *lines))])


def further(report: WindowReport) -> list[str]:
    """What the table does not say: why predictions were not judged, and what drift tests of the user's own found."""
    why = report.why_no_predictions
    lines = [] if why is None else [f"predictions not judged: {why}"]
    for one in ordered(report):
        for test, result in one.tests.items():
            if is_extension(test) and isinstance(result, Measured):
                drifted = ", drifted" if result.drifted else ""
                lines.append(f"{one.name}: {test} {result.effect:.3g} {result.unit}{drifted}")
    return lines


def _counts(report: WindowReport) -> list[str]:
    """Of the features, and what else has drifted, by name."""
    features = f"{len(report.drifted_features)} of {len(report.features)} features"
    return [features, *(name for name in report.drifted if name not in report.drifted_features)]


def ordered(report: WindowReport) -> list[FeatureReport]:
    """All that was judged: drifted ones first, the least probable first."""
    return sorted(report.judged, key=lambda one: (not one.drifted, one.log_p_value))


def row_of(report: WindowReport, feature: FeatureReport) -> tuple[str, ...]:
    sentences = [cause.sentence for cause in report.causes if cause.feature == feature.name and not cause.other]
    deciding = [r for r in feature.tests.values() if isinstance(r, Measured) and r.threshold is not None]
    return (
        feature.name,
        "yes" if feature.drifted else "no" if deciding else "withheld" if feature.withheld else "?",
        f"{min(result.p_value for result in deciding):.2g}" if deciding else "",
        _effect(feature, "jensen_shannon"),
        _effect(feature, "location"),
        str(feature.statistics.get("missing", "")),
        "; ".join(sentences),
    )


def _effect(feature: FeatureReport, test: str) -> str:
    result = feature.tests.get(test)
    return f"{result.effect:.3g}" if isinstance(result, Measured) else ""
