"""
Whether a change looks like another unit: mean and spread of the window are those of the baseline, converted.

A spread alone cannot tell 2.54 times as wide from centimetres for inches; the mean must have moved along. About 0 it
says nothing, and only factors that no process has by chance, 10 and more, are believed without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from tidegauge.causes.cause import Cause
from tidegauge.causes.side import Side


@dataclass(frozen=True, slots=True)
class Conversion:
    """x becomes factor * x + offset."""

    factor: float
    offset: float
    name: str


_FACTORS: Final = {
    10.0: "a power of ten",
    100.0: "a fraction and per cent, or metres and centimetres",
    1000.0: "a prefix such as kilo or milli",
    1e6: "a prefix such as mega or micro",
    1e9: "a prefix such as giga or nano",
    60.0: "minutes and seconds, or hours and minutes",
    3600.0: "hours and seconds",
    24.0: "days and hours",
    86_400.0: "days and seconds",
    7.0: "weeks and days",
    12.0: "feet and inches, or years and months",
    2.54: "inches and centimetres",
    25.4: "inches and millimetres",
    3.280840: "metres and feet",
    1.609344: "miles and kilometres",
    2.204623: "kilograms and pounds",
    3.6: "metres per second and kilometres per hour",
    57.29578: "radians and degrees",
    4.184: "calories and joules",
    1024.0: "a binary prefix such as kibi",
    1_048_576.0: "a binary prefix such as mebi",
}

CONVERSIONS: Final = (
    *(Conversion(factor, 0.0, name) for factor, name in _FACTORS.items()),
    *(Conversion(1 / factor, 0.0, name) for factor, name in _FACTORS.items()),
    Conversion(1.8, 32.0, "degrees Celsius and Fahrenheit"),
    Conversion(1 / 1.8, -32 / 1.8, "degrees Celsius and Fahrenheit"),
    Conversion(1.0, 273.15, "degrees Celsius and kelvin"),
    Conversion(1.0, -273.15, "degrees Celsius and kelvin"),
    Conversion(-1.0, 0.0, "the sign"),
)

BY_CHANCE: Final = 10.0
"""From here on, or its inverse, a factor is no spread: a named one is believed where the mean says nothing."""

SMALLEST_FACTOR: Final = 1.5
"""Without a name, a smaller factor is a shift and a spread."""

FAR: Final = 3.0
"""
Standard deviations by which a conversion without a factor must move the mean. Kelvin moves by 273; a shift of that size
by chance is rare, but that it meets the number within the tolerance is rarer.
"""


def change_of_unit(side: Side) -> Cause | None:
    mean, sd = side.reference.mean, side.reference.sd
    if mean is None or not sd or not side.sd > 0:
        return None
    tolerance = _tolerance(side)
    best = min(CONVERSIONS, key=lambda conversion: _misfit(conversion, side))
    if _misfit(best, side) <= tolerance and _is_telling(best, side, tolerance):
        turned = "" if best.offset == 0 else f" and {'' if best.offset > 0 else '-'}{abs(best.offset):.4g} added"
        return _cause(side, best, f"looks like a change of unit ({best.name}{turned})")
    scale = side.sd / sd
    free = Conversion(math.copysign(scale, side.mean * mean), 0.0, "")
    telling = abs(math.log(scale)) > math.log(SMALLEST_FACTOR) and _is_telling(free, side, tolerance)
    if telling and free.factor > 0 and _misfit(free, side) <= tolerance:
        return _cause(side, free, "looks like a change of scale")
    return None


def _tolerance(side: Side) -> float:
    """On the logarithm of the spread and, in standard deviations, on the mean: sampling error and a little more."""
    per_row = 1 / max(side.values, 1.0) + 1 / max(side.reference.rows - side.reference.missing, 1)
    return 0.12 + 3 * math.sqrt(per_row)


def _misfit(conversion: Conversion, side: Side) -> float:
    """The worse of both: difference of the logarithms of the spreads, and of the means in standard deviations."""
    mean, sd = float(side.reference.mean or 0.0), float(side.reference.sd or 0.0)
    expected = abs(conversion.factor) * sd
    off_by = abs(side.mean - (conversion.factor * mean + conversion.offset)) / expected
    return max(abs(math.log(side.sd / expected)), off_by)


def _is_telling(conversion: Conversion, side: Side, tolerance: float) -> bool:
    """Whether the mean moved so far with the conversion that no mere spread and no mere shift is likely to look so."""
    mean, sd = float(side.reference.mean or 0.0), float(side.reference.sd or 0.0)
    scale = abs(conversion.factor)
    moved = abs((conversion.factor - 1) * mean + conversion.offset) / (max(scale, 1.0) * sd)
    if scale == 1.0:
        return moved > FAR
    return moved > 3 * tolerance or (bool(conversion.name) and not 1 / BY_CHANCE < scale < BY_CHANCE)


def _cause(side: Side, conversion: Conversion, reading: str) -> Cause:
    name, factor = side.feature.name, abs(conversion.factor)
    grew = f"grew {factor:.3g}x" if factor > 1 else f"shrank to 1/{1 / factor:.3g}" if factor < 1 else "moved"
    return Cause(
        feature=name,
        kind="unit",
        effect=conversion.factor,
        unit="times",
        sentence=f"{name} {grew}, from about {side.reference.mean:.4g} to {side.mean:.4g}: {reading}",
        evidence={
            "factor": conversion.factor,
            "offset": conversion.offset,
            "mean_before": float(side.reference.mean or 0.0),
            "mean_now": side.mean,
            "sd_before": float(side.reference.sd or 0.0),
            "sd_now": side.sd,
        },
        mass=side.moved,
    )
