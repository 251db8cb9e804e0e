"""
What the model answered, read from records in whatever form the predictor gave it: numbers by output, and labels.

A text or a boolean is a label, a number a quantity. A whole number is both: whether 3 is a class or a count, the answer
does not say. Outputs of one answer are numbered or named; a single one is called "prediction".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tidegauge.summaries.record_columns import Columns, spread

Array = NDArray[np.float64]

SINGLE: Final = "prediction"

MOST_OUTPUTS: Final = 16
"""Of one answer; further ones are not summarised. A network's embedding is no set of outputs to watch one by one."""

LABEL_LENGTH: Final = 64
"""Longer labels are cut."""


@dataclass(frozen=True)
class Labels:
    """values: one per row, of one output. weights: of the rows, None where every one is 1."""

    output: str
    values: Sequence[str]
    weights: Array | None = None


@dataclass(frozen=True)
class Output:
    """values: one per row, as the predictor gave them. weights: of the rows, None where every one is 1."""

    values: Sequence[object]
    weights: Array | None = None


@dataclass(frozen=True)
class Predictions:
    numbers: Sequence[Columns] = ()
    labels: Sequence[Labels] = field(default=())


def read_predictions(answers: Sequence[object], rows: Sequence[int], weights: Array | None) -> Predictions:
    """
    answers: predictions of each record, None for none. rows, weights: of the records; weights None where every one is
    1. Never raises: what has another form than rows of numbers or labels is left out.
    """
    if _are_single(answers):
        return _parted({SINGLE: Output(list(map(itemgetter(0), answers)), weights)})
    outputs: dict[str, _Gathered] = {}
    for position, answer in enumerate(zip(answers, rows, strict=True)):
        for name, values in _outputs(*answer):
            gathered = outputs.get(name)
            if gathered is None:
                gathered = outputs[name] = _Gathered()
            gathered.add(position, values)
    kept = {name: outputs[name] for name in sorted(outputs)[:MOST_OUTPUTS]}
    return _parted({name: output.output(weights) for name, output in kept.items()})


def _are_single(answers: Sequence[object]) -> TypeGuard[Sequence[list[object]]]:
    """Lists of one number or label, as most answers to one row are: quicker to read than others."""
    return (
        set(map(type, answers)) == {list}
        and set(map(len, answers)) == {1}  # type: ignore[arg-type]
        and set(map(type, map(itemgetter(0), answers))) <= _PLAIN  # type: ignore[arg-type]
    )


def read_outputs(
    answers: Sequence[object], rows: Sequence[int], names: Sequence[str], weights: Array | None
) -> list[Output]:
    """
    The answers' outputs of these names, one for each. An output alone is the same in name and answer whatever it is
    called; of several without names the position tells. Answer by answer, so records together give what they give
    apart. The others as read_predictions takes them. Never raises.
    """
    gathered = [_Gathered() for _ in names]
    for position, answer in enumerate(zip(answers, rows, strict=True)):
        for at, values in _of_names(_outputs(*answer), names):
            gathered[at].add(position, values)
    return [output.output(weights) for output in gathered]


def of_values(values: object, weights: Array | None) -> Predictions:
    """values: one prediction per row, as an array or a list. weights: of the rows, None where every one is 1."""
    return _parted({name: Output(column, weights) for name, column in _outputs(_plain(values), 0)})


def _plain(values: object) -> object:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _parted(outputs: Mapping[str, Output]) -> Predictions:
    numbers = [_numbers(name, output.values, output.weights) for name, output in outputs.items()]
    labels = [_labels(name, output.values, output.weights) for name, output in outputs.items()]
    return Predictions(
        [column for column in numbers if len(column.matrix)], [label for label in labels if label.values]
    )


def outputs_of_values(values: object, names: Sequence[str], weights: Array | None) -> list[Output]:
    """values: as of_values takes them."""
    found = dict(_of_names(_outputs(_plain(values), 0), names))
    return [Output(found[at], weights) if at in found else Output(()) for at in range(len(names))]


def _of_names(
    outputs: Sequence[tuple[str, Sequence[object]]], names: Sequence[str]
) -> Iterator[tuple[int, Sequence[object]]]:
    """Positions among the names."""
    if len(names) == len(outputs) == 1:
        yield 0, outputs[0][1]
        return
    by_name = {str(at): at for at in range(len(names))} | {name: at for at, name in enumerate(names)}
    for name, values in outputs:
        if name in by_name:
            yield by_name[name], values


@dataclass
class _Gathered:
    """values: of all records together. lengths: how many of them each record at `positions` has."""

    lengths: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    values: list[object] = field(default_factory=list)

    def add(self, position: int, values: Sequence[object]) -> None:
        self.lengths.append(len(values))
        self.positions.append(position)
        self.values.extend(values)

    def output(self, weights: Array | None) -> Output:
        """weights: of the records."""
        return Output(self.values, None if weights is None else spread(weights[self.positions], self.lengths))


def _numbers(output: str, values: Sequence[object], weights: Array | None) -> Columns:
    numbers, weights = _of_types(_NUMBERS, values, weights)
    return Columns.of({_numbered(output): list(map(_float, numbers))}, weights)


def _labels(output: str, values: Sequence[object], weights: Array | None) -> Labels:
    labels, weights = _of_types(_LABELS, values, weights)
    return Labels(output, [str(label)[:LABEL_LENGTH] for label in labels], weights)


_NUMBERS: Final = frozenset({int, float})
_LABELS: Final = frozenset({int, str, bool})


def _of_types(
    types: frozenset[type], values: Sequence[object], weights: Array | None
) -> tuple[Sequence[object], Array | None]:
    """Those of the values that have one of the types, with their weights."""
    kinds = set(map(type, values))
    if kinds <= types:
        return values, weights
    if kinds.isdisjoint(types):
        return [], None if weights is None else weights[:0]
    chosen = [type(value) in types for value in values]
    kept = [value for value, keep in zip(values, chosen, strict=True) if keep]
    return kept, None if weights is None else weights[np.array(chosen)]


def _numbered(name: str) -> str:
    return name if name == SINGLE else f"{SINGLE}.{name}"


def _float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return float("inf")


def _outputs(predictions: object, rows: int) -> list[tuple[str, Sequence[object]]]:
    """(output, values), one value per row, for each output of one answer."""
    # A list is told by its type first: asking whether something is a Mapping is slow, and most answers are lists.
    if type(predictions) is not list and isinstance(predictions, Mapping):
        return [
            (str(name) if suffix == SINGLE else f"{name}.{suffix}", values)
            for name, data in predictions.items()
            for suffix, values in _of_list(data, rows)
        ]
    return _of_list(predictions, rows)


def _of_list(data: object, rows: int) -> list[tuple[str, Sequence[object]]]:
    if not isinstance(data, list) or not data:
        return []
    first = data[0]
    if type(first) in _PLAIN:
        return _of_plain(data, rows)
    if isinstance(first, list):
        table = [row for row in data if isinstance(row, list) and len(row) == len(first)]
        return _by_position(list(zip(*table, strict=True)))
    if isinstance(first, Mapping):
        named = [row for row in data if isinstance(row, Mapping)]
        return [(str(name), [row.get(name) for row in named]) for name in list(first)[:MOST_OUTPUTS]]
    return _of_plain(data, rows)


_PLAIN: Final = _NUMBERS | _LABELS


def _of_plain(data: list[object], rows: int) -> list[tuple[str, Sequence[object]]]:
    if rows and len(data) > rows and not len(data) % rows:
        # A tensor of several outputs a row, sent flat.
        width = len(data) // rows
        return _by_position([data[at::width] for at in range(min(width, MOST_OUTPUTS))])
    return [(SINGLE, data)]


def _by_position(columns: Sequence[Sequence[object]]) -> list[tuple[str, Sequence[object]]]:
    if len(columns) == 1:
        return [(SINGLE, columns[0])]
    return [(str(at), column) for at, column in enumerate(columns[:MOST_OUTPUTS])]
