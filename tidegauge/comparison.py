"""
Two baseline profiles side by side: what differs, the most changed feature first.

Profiles have no rows, so distributions are compared by their bin counts on the inner edges of both together: a bin that
the other profile's edges cut is shared out as if its values lay evenly in it. Where both have the same edges, as for
categories, nothing is approximated. The extremes cut nothing: values do not lie evenly in the outermost bins. Of two
normal distributions one standard deviation apart the distance comes out some 15 % too large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.drift.jensen_shannon import divergence_parts
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.reference import FeatureReference

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureDistance:
    """
    jensen_shannon: in nats, 0 to log 2, missing values as a bin. shift: of the mean, in standard deviations of the
    first; None for categories and where the first has no spread. missing: shares in the first and the second.
    """

    name: str
    jensen_shannon: float
    shift: float | None
    missing: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """features: those of both with the same kind, farthest first. The others are sentences."""

    same: bool
    schema: tuple[str, ...]
    features: tuple[FeatureDistance, ...]
    scoring: tuple[str, ...]


def compare(first: BaselineProfile, second: BaselineProfile, *, false_alarm_rate: float = 0.001) -> Comparison:
    distances = [
        _distance(specs, (first.references[here], second.references[there]))
        for here, spec in enumerate(first.schema.features)
        if (there := second.schema.index.get(spec.name)) is not None
        and (specs := (spec, second.schema.features[there]))[0].kind == specs[1].kind
    ]
    return Comparison(
        same=first.content_id == second.content_id,
        schema=tuple(_schema_changes(first.schema, second.schema)),
        features=tuple(sorted(distances, key=lambda distance: (-distance.jensen_shannon, distance.name))),
        scoring=tuple(_scoring_changes(first, second, false_alarm_rate)),
    )


def _schema_changes(first: FeatureSchema, second: FeatureSchema) -> list[str]:
    changes = [f"{name}: only in the first" for name in first.names if name not in second.index]
    changes += [f"{name}: only in the second" for name in second.names if name not in first.index]
    for spec in first.features:
        there = second.index.get(spec.name)
        if there is not None:
            changes += _feature_changes(spec, second.features[there])
    shared = [name for name in first.names if name in second.index]
    if shared != [name for name in second.names if name in first.index]:
        changes.append("the features are in another order")
    return changes


def _feature_changes(first: FeatureSpec, second: FeatureSpec) -> list[str]:
    if first.kind != second.kind:
        return [f"{first.name}: {first.kind} in the first, {second.kind} in the second"]
    gone = [str(name) for name in first.categories if name not in second.codes]
    come = [str(name) for name in second.categories if name not in first.codes]
    changes = [f"{first.name}: categories only in the first: {', '.join(gone)}"] if gone else []
    return changes + ([f"{first.name}: categories only in the second: {', '.join(come)}"] if come else [])


def _scoring_changes(first: BaselineProfile, second: BaselineProfile, rate: float) -> list[str]:
    a, b = first.scoring, second.scoring
    changes = [f"detector {name}: only in the first" for name in a.detectors if name not in b.detectors]
    changes += [f"detector {name}: only in the second" for name in b.detectors if name not in a.detectors]
    for name in a.held_out:
        if name in b.held_out:
            here, there = a.held_out[name], b.held_out[name]
            statuses = here.status(rate), there.status(rate)
            if statuses[0] != statuses[1]:
                changes.append(
                    f"{name} at a rate of {rate:g}: {statuses[0]} with {here.n:,} rows held out in the first, "
                    f"{statuses[1]} with {there.n:,} in the second"
                )
    return changes


def _distance(
    specs: tuple[FeatureSpec, FeatureSpec], references: tuple[FeatureReference, FeatureReference]
) -> FeatureDistance:
    first, second = references
    shares = _of_categories(specs, references) if specs[0].kind == "categorical" else _of_quantities(references)
    shift = None
    if first.mean is not None and second.mean is not None and first.sd:
        shift = (second.mean - first.mean) / first.sd
    return FeatureDistance(
        name=specs[0].name,
        jensen_shannon=_jensen_shannon(*shares),
        shift=shift,
        missing=(first.missing / first.rows, second.missing / second.rows),
    )


def _of_categories(
    specs: tuple[FeatureSpec, FeatureSpec], references: tuple[FeatureReference, FeatureReference]
) -> tuple[Array, Array]:
    names = list(dict.fromkeys([*specs[0].categories, *specs[1].categories]))
    shares = []
    for spec, reference in zip(specs, references, strict=True):
        # Bins of categories: unseen, one each, missing.
        known = dict(zip(spec.categories, reference.counts[1:].tolist(), strict=False))
        counts = [reference.counts[0], *(known.get(name, 0) for name in names), reference.counts[-1]]
        shares.append(np.array(counts) / reference.rows)
    return shares[0], shares[1]


def _of_quantities(references: tuple[FeatureReference, FeatureReference]) -> tuple[Array, Array]:
    first, second = references
    edges = np.union1d(first.edges[1:-1], second.edges[1:-1])
    lowest, highest = max(r.edges[0] for r in references), min(r.edges[-1] for r in references)
    if highest <= lowest:
        edges = np.union1d(edges, [highest])  # nothing in common: one ends before the other begins
    return _on(edges, first), _on(edges, second)


def _on(edges: Array, reference: FeatureReference) -> Array:
    """Shares below, between and above the edges, then of missing values."""
    below = np.cumsum(reference.counts[:-2])
    cumulative = np.concatenate([[0.0], np.interp(edges, reference.edges, below), below[-1:]])
    return np.append(np.diff(cumulative), reference.counts[-1]) / reference.rows


def _jensen_shannon(p: Array, q: Array) -> float:
    """As it is, without the pseudo-counts of a test: what only one of the two has is as far off as can be."""
    shared = (p > 0) & (q > 0)
    apart = float((p + q)[~shared].sum()) / 2
    found = float(divergence_parts(p[shared], q[shared]).sum()) + apart * math.log(2)
    return min(max(found, 0.0), math.log(2))
