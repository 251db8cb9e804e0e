"""What makes a baseline weaker than it looks, in sentences for people, each with what can be done about it."""

from __future__ import annotations

import math
from typing import Final

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema
from tidegauge.reference import FeatureReference
from tidegauge.scoring.calibration import HeldOut, Status
from tidegauge.scoring.fitted import SMALL_SAMPLE

MOSTLY_MISSING: Final = 0.5
MOST_NAMED: Final = 5


def concerns(profile: BaselineProfile, *, false_alarm_rate: float = 0.001) -> tuple[str, ...]:
    """
    Empty where nothing is amiss. false_alarm_rate: the share of normal rows that may be flagged, above 0 and below 1;
    raises ValueError for another.
    """
    if not 0.0 < false_alarm_rate < 1.0:
        raise ValueError(f"false-alarm rate {false_alarm_rate:g}: expected a share above 0 and below 1")
    return tuple(
        sentence
        for sentence in (
            _constants(profile.schema, profile.references),
            _gaps(profile.schema, profile.references),
            _calibration(profile, false_alarm_rate),
            _marks(profile),
        )
        if sentence
    )


def calibration_status(profile: BaselineProfile, false_alarm_rate: float) -> Status:
    """How far the held-out rows carry the rate, all detectors together."""
    return _held_out(profile).status(false_alarm_rate)


def rows_needed(false_alarm_rate: float, status: Status) -> int:
    """Reference rows, known outliers aside, from which on a rate has this status; for "refused", 0."""
    held_out = math.ceil({"calibrated": 10, "coarse": 1, "extrapolated": 0.1, "refused": 0}[status] / false_alarm_rate)
    return held_out if held_out < SMALL_SAMPLE else 2 * held_out


def _held_out(profile: BaselineProfile) -> HeldOut:
    return profile.scoring.held_out_of(profile.scoring.ordered(None))


def _constants(schema: FeatureSchema, references: tuple[FeatureReference, ...]) -> str:
    names = [
        name
        for name, reference in zip(schema.names, references, strict=True)
        if (reference.counts[:-1] > 0).sum() == 1 and reference.low == reference.high
    ]
    if not names:
        return ""
    verb = "has" if len(names) == 1 else "have"
    return f"{_listed(names)} {verb} one value only: no part in the relations between features; any other is a surprise"


def _gaps(schema: FeatureSchema, references: tuple[FeatureReference, ...]) -> str:
    names = [
        f"{name} ({reference.missing / reference.rows:.0%})"
        for name, reference in zip(schema.names, references, strict=True)
        if reference.missing > MOSTLY_MISSING * reference.rows
    ]
    return f"mostly missing: {_listed(names)}; what is seen of them rests on few rows" if names else ""


def _calibration(profile: BaselineProfile, rate: float) -> str:
    status = calibration_status(profile, rate)
    if status == "calibrated":
        return ""
    needed = f"from {rows_needed(rate, 'calibrated'):,} reference rows on it is calibrated"
    rows = f"with {_held_out(profile).n:,} rows held out"
    if status == "refused":
        least = rows_needed(rate, "extrapolated")
        return f"a false-alarm rate of {rate:g} is refused {rows}: at least {least:,} reference rows are needed"
    if status == "coarse":
        return f"a false-alarm rate of {rate:g} is coarse {rows}: it may be off by a factor of two; {needed}"
    return f"a false-alarm rate of {rate:g} is extrapolated by a fitted tail {rows}; {needed}"


def _marks(profile: BaselineProfile) -> str:
    if profile.outliers:
        return ""
    return (
        "no rows are marked as outliers: outliers among them are learnt as normal and will be missed, since rates hold "
        "for clean data; mark them with an outlier column, or trim the most extreme rows with a contamination"
    )


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
