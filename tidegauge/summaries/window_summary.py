"""All that is known of one monitor in one window, mergeable, and its wire format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidSummary
from tidegauge.features import Matrix
from tidegauge.records import Heartbeat, InferenceRecord
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries import SUMMARIES, container
from tidegauge.summaries.bin_counts import BinCounts
from tidegauge.summaries.cross_moments import CrossMoments
from tidegauge.summaries.gathered_records import GatheredRecords
from tidegauge.summaries.given_bins import GivenBins
from tidegauge.summaries.label_counts import LabelCounts
from tidegauge.summaries.measures import Measures
from tidegauge.summaries.moments import Moments
from tidegauge.summaries.own_sums import OwnSums
from tidegauge.summaries.p_value_counts import PValueCounts
from tidegauge.summaries.prediction_bins import PredictionBins
from tidegauge.summaries.quantile_sketches import QuantileSketches
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import ServedAccount
from tidegauge.summaries.window_rows import WindowRows

MAGIC: Final = b"tgs2"
"""Format and version of the bytes; a reader refuses what it does not know rather than guess."""

FIRST_MAGIC: Final = b"tgs1"
"""JSON, with REQUIRED parts alone and without weights. Read, no longer written."""

LATER: Final = ("own", "predictions")
"""Parts that tgs2 got after its first use: where they are not measured their names are left out, as they were then."""

REQUIRED: Final = ("requests", "moments", "bins", "account")


@dataclass(frozen=True)
class WindowSummary:
    """One field for each entry of SUMMARIES. None: not measured, as the monitor wishes or an older program left it."""

    requests: RequestCounts
    moments: Moments
    bins: BinCounts
    account: ServedAccount
    quantiles: QuantileSketches | None = None
    cross: CrossMoments | None = None
    given: GivenBins | None = None
    measures: Measures | None = None
    labels: LabelCounts | None = None
    p_values: PValueCounts | None = None
    own: OwnSums | None = None
    predictions: PredictionBins | None = None

    def merge(self, other: WindowSummary) -> WindowSummary:
        """
        What one side did not measure, the whole has not: a part that knew some rows only would pass for one that knows
        them all. Raises IncompatibleSummaries when the two are of different baselines.
        """
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in SUMMARIES}
        return _assemble(
            {
                name: None if left is None or right is None else left.merge(right)
                for name, (left, right) in pairs.items()
            }
        )

    def encode(self) -> bytes:
        parts = {
            name: getattr(self, name) for name in SUMMARIES if name not in LATER or getattr(self, name) is not None
        }
        return MAGIC + container.dump({name: part and part.to_state() for name, part in parts.items()})

    @classmethod
    def decode(cls, data: bytes) -> WindowSummary:
        """Raises InvalidSummary."""
        return EncodedSummary(data).decoded


@dataclass(frozen=True)
class EncodedSummary:
    """As it came, and read as far as it is asked for. What is asked for raises InvalidSummary."""

    data: bytes

    @cached_property
    def account(self) -> ServedAccount:
        with _refused():
            return ServedAccount.from_state(self._states["account"])

    @cached_property
    def decoded(self) -> WindowSummary:
        with _refused():
            return _assemble({name: _part(name, self._states) for name in SUMMARIES})

    @cached_property
    def _states(self) -> Mapping[str, Any]:
        magic, content = self.data[: len(MAGIC)], self.data[len(MAGIC) :]
        if magic not in (MAGIC, FIRST_MAGIC):
            raise InvalidSummary(f"begins with {magic!r}, this reader knows {FIRST_MAGIC!r} and {MAGIC!r}")
        states: Mapping[str, Any] = container.load(content) if magic == MAGIC else orjson.loads(content)
        return states


@contextmanager
def _refused() -> Iterator[None]:
    """What is not as `encode` writes it fails in many ways."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError, RuntimeError) as error:
        raise InvalidSummary(repr(error)) from error


def summarise(
    records: Sequence[InferenceRecord],
    heartbeats: Sequence[Heartbeat],
    profile: BaselineProfile,
    statistics: Statistics | None = None,
) -> WindowSummary:
    """The summary of these records and heartbeats, all of one monitor, baseline and window."""
    (summary,) = summarise_all([Gathered(GatheredRecords.of(records, profile), heartbeats, profile, statistics)])
    return summary


class Gathered(NamedTuple):
    """What `summarise` takes, with the records gathered as they came."""

    records: GatheredRecords
    heartbeats: Sequence[Heartbeat]
    profile: BaselineProfile
    statistics: Statistics | None = None


def summarise_all(windows: Iterable[Gathered]) -> list[WindowSummary]:
    """One for each."""
    return _summaries([WindowRows.of(*gathered) for gathered in windows])


def summarise_matrix(
    matrix: Matrix,
    profile: BaselineProfile,
    *,
    predictions: object = None,
    scores: Mapping[str, Sequence[float]] | None = None,
    p_values: Sequence[float] | None = None,
    outlier: Sequence[bool] | NDArray[np.bool_] | None = None,
    weights: Sequence[float] | None = None,
    statistics: Statistics | None = None,
) -> WindowSummary:
    """
    The summary of rows that came as no records: a notebook's, a batch job's. It merges with any other.

    matrix: float64 (rows, features) in the profile's schema, as features.coerce_rows makes it; NaN = missing.
    Infinities are counted as non-finite and then missing, as they are in a request. The others have one value per row
    and may be left out: predictions (numbers, labels, or rows of several outputs), scores by detector, p_values (the
    detectors' combined ones), outlier (verdicts), weights (> 0: how many rows of traffic each stands for). There are no
    requests in it, and its completeness is unknown. Raises ValueError when lengths differ or a weight is not above 0.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != len(profile.schema):
        raise ValueError(f"expected rows of {len(profile.schema)} features, got shape {matrix.shape}")
    given = {"predictions": predictions, "p_values": p_values, "outlier": outlier, "weights": weights, **(scores or {})}
    for name, values in given.items():
        if values is not None and len(values) != len(matrix):  # type: ignore[arg-type]
            raise ValueError(f"{name}: {len(values)} values for {len(matrix)} rows")  # type: ignore[arg-type]
    if weights is not None and not all(0 < weight < np.inf for weight in weights):
        raise ValueError("weights: expected finite numbers above 0")
    data = WindowRows.of_matrix(
        matrix,
        profile,
        predictions=predictions,
        scores=scores,
        p_values=p_values,
        outlier=outlier,
        weights=weights,
        statistics=statistics,
    )
    (summary,) = _summaries([data])
    return summary


def _summaries(windows: Sequence[WindowRows]) -> list[WindowSummary]:
    """The same part of all of them, then the next: what makes a part stays in the processor's caches."""
    parts = [
        [kind.of(data) if _is_wanted(name, data.statistics) else None for data in windows]
        for name, kind in SUMMARIES.items()
    ]
    return [_assemble(dict(zip(SUMMARIES, of_window, strict=True))) for of_window in zip(*parts, strict=True)]


def _is_wanted(name: str, statistics: Statistics) -> bool:
    return bool({"cross": statistics.covariance, "own": statistics.own}.get(name, True))


def _part(name: str, states: Mapping[str, Any]) -> Any:
    if name not in REQUIRED and states.get(name) is None:
        return None
    return SUMMARIES[name].from_state(states[name])


def _assemble(parts: dict[str, Any]) -> WindowSummary:
    return WindowSummary(**parts)
