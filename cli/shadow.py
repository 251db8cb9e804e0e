"""A stretch of a monitor's traffic told again under a shadow's name, with one feature changed from a moment on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidBaseline
from tidegauge.monitor import ModelMonitor
from tidegauge.records import Account, Heartbeat, InferenceRecord, decode, encode_heartbeat, encode_record
from tidegauge.scenarios import Injection, Missing, Shift, Unit

MAXIMUM_RECORDS: Final = 200_000
"""Of the stretch, kept as encoded: some 120 MB."""

BEAT_MS: Final = 1_000

Change: TypeAlias = Callable[[Sequence[object]], list[object]]
"""Values of one feature, as records have them, made into others; as many as were given."""


def position_of(profile: BaselineProfile, feature: str) -> int:
    """In the schema. Raises InvalidBaseline."""
    names = [spec.name for spec in profile.schema.features]
    if feature not in names:
        raise InvalidBaseline(f"--feature {feature}: not in the baseline, which has {', '.join(names)[:300]}")
    return names.index(feature)


def shift(profile: BaselineProfile, feature: str, size: float) -> Change:
    """By `size` of the baseline's standard deviations. Raises InvalidBaseline, as the others below do."""
    deviation = _numeric(profile, feature, "--shift")
    if not deviation:
        raise InvalidBaseline(f"--feature {feature}: never varies in the baseline: there is no sd to shift it by")
    return _of_numbers(Shift(feature, size, deviation))


def scale(profile: BaselineProfile, feature: str, factor: float) -> Change:
    _numeric(profile, feature, "--scale")
    return _of_numbers(Unit(feature, factor))


def missing(feature: str, share: float, rng: np.random.Generator) -> Change:
    if not 0 < share <= 1:
        raise InvalidBaseline(f"--missing {share}: expected a share above 0, at most 1")
    injection = Missing(feature, share, rng)

    def change(values: Sequence[object]) -> list[object]:
        gone = np.isnan(injection.column(np.zeros(len(values))))
        return [None if is_gone else value for value, is_gone in zip(values, gone, strict=True)]

    return change


def swap(profile: BaselineProfile, feature: str, pair: str) -> Change:
    """pair: "blue:red", of the feature's categories."""
    spec = profile.schema.features[position_of(profile, feature)]
    one, colon, other = pair.partition(":")
    values: Sequence[object] = (False, True) if spec.kind == "boolean" else spec.categories
    known = {str(value).lower() if spec.kind == "boolean" else str(value): value for value in values}
    if not colon or one not in known or other not in known or one == other:
        raise InvalidBaseline(f"--swap {pair}: expected two categories of {feature}, such as {_example(known)}")
    swapped: Mapping[object, object] = {known[one]: known[other], known[other]: known[one]}
    return lambda values: [swapped.get(value, value) for value in values]


@dataclass(frozen=True)
class Traffic:
    """
    messages: encoded records with their times since the first, in order. span_ms: of them all with the gap that
    follows the last; then they begin again.
    """

    messages: Sequence[tuple[int, bytes]]
    span_ms: int
    rows: int

    @classmethod
    def of(cls, records: Iterator[InferenceRecord]) -> Traffic:
        """Raises InvalidBaseline when they are too few or too many."""
        found: list[tuple[int, bytes]] = []
        rows = 0
        for record in records:
            if len(found) == MAXIMUM_RECORDS:
                raise InvalidBaseline(f"the stretch has more than {MAXIMUM_RECORDS} records: choose a shorter one")
            found.append((record.time_ms, encode_record(record)))
            rows += len(record.features or ())
        if len(found) < 2:
            raise InvalidBaseline(
                f"the stretch has {len(found)} usable records of this monitor and baseline: choose another --since"
            )
        found.sort(key=lambda item: item[0])
        first_ms = found[0][0]
        lasted_ms = found[-1][0] - first_ms
        span_ms = max(1, lasted_ms + round(lasted_ms / (len(found) - 1)))
        return cls([(time_ms - first_ms, message) for time_ms, message in found], span_ms, rows)

    def check(self, monitor: ModelMonitor) -> None:
        """Raises InvalidBaseline when a window would have too few rows to be judged."""
        per_window = self.rows * monitor.windows.duration_ms / self.span_ms
        if per_window < monitor.windows.min_count:
            raise InvalidBaseline(
                f"the stretch has {per_window:.0f} rows a window, spec.windows.minCount is"
                f" {monitor.windows.min_count}: choose a busier stretch or longer windows"
            )


@dataclass(frozen=True)
class Injected:
    """What is done to one feature, from when on: UTC epoch. position: the feature's, in the schema."""

    position: int
    change: Change
    from_ms: int


class Shadow:
    """The messages of one worker that serves nothing. start_ms: a whole second."""

    def __init__(self, traffic: Traffic, monitor: ModelMonitor, baseline: str, *, start_ms: int, injected: Injected):
        self._traffic, self._monitor, self._baseline, self._injected = traffic, monitor, baseline, injected
        self._start_ms, self._beat_ms = start_ms, start_ms
        self._sent = 0

    def until(self, end_ms: int) -> Iterator[bytes]:
        """In the order of time, all before end_ms that was not given before."""
        while (at_ms := min(self._beat_ms, self._next_ms)) < end_ms:
            if at_ms == self._beat_ms:
                yield self.heartbeat(at_ms)
                self._beat_ms += BEAT_MS
            else:
                yield self._record(at_ms)

    def heartbeat(self, at_ms: int, *, final: bool = False) -> bytes:
        account = Account(served=self._sent, acknowledged=self._sent)
        return encode_heartbeat(Heartbeat(**self._names, time_ms=at_ms, seq=self._sent, account=account, final=final))

    @property
    def _next_ms(self) -> int:
        lap, position = divmod(self._sent, len(self._traffic.messages))
        return self._start_ms + lap * self._traffic.span_ms + self._traffic.messages[position][0]

    @property
    def _names(self) -> dict[str, Any]:
        return {
            "monitor": self._monitor.name,
            "model": self._monitor.model.name,
            "version": self._monitor.model.version,
            "namespace": self._monitor.namespace,
            "replica": "drill",
            "incarnation": str(self._start_ms),
            "baseline": self._baseline,
        }

    def _record(self, at_ms: int) -> bytes:
        known = decode(self._traffic.messages[self._sent % len(self._traffic.messages)][1])
        assert isinstance(known, InferenceRecord)
        self._sent += 1
        own: dict[str, Any] = {"id": f"{self._monitor.name}-{self._sent}", "time_ms": at_ms, "seq": self._sent}
        left_out: dict[str, Any] = {"traceparent": None, "headers": {}, "labels": {}, "raw": None}
        return encode_record(replace(known, **self._names, **own, **left_out, features=self._rows(known, at_ms)))

    def _rows(self, record: InferenceRecord, at_ms: int) -> list[list[object]]:
        rows = [list(row) for row in record.features or ()]
        if at_ms >= self._injected.from_ms:
            position = self._injected.position
            for row, value in zip(rows, self._injected.change([row[position] for row in rows]), strict=True):
                row[position] = value
        return rows


def _numeric(profile: BaselineProfile, feature: str, option: str) -> float | None:
    """The feature's standard deviation."""
    position = position_of(profile, feature)
    kind = profile.schema.features[position].kind
    if kind != "numeric":
        raise InvalidBaseline(f"{option}: {feature} is {kind}: use --swap or --missing")
    return profile.references[position].sd


def _of_numbers(injection: Injection) -> Change:
    def change(values: Sequence[object]) -> list[object]:
        are_numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in values]
        numbers = np.array(
            [value if is_number else np.nan for value, is_number in zip(values, are_numbers, strict=True)]
        )
        changed = injection.column(numbers.astype(np.float64)).tolist()
        return [new if is_number else old for new, old, is_number in zip(changed, values, are_numbers, strict=True)]

    return change


def _example(known: Mapping[str, object]) -> str:
    return ":".join(list(known)[:2]) if len(known) > 1 else "none: it has fewer than two"
