from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import orjson
import pyarrow as pa
import pytest

from aggregator import fold as folding
from aggregator.fold import FOLDED, FOLDED_COLUMNS, KEPT_BYTES, Messages, fold, fold_batch, parts_of
from aggregator.shards import shard_of
from aggregator.sorting import MAXIMUM_LEAD_MS, REFUSALS
from tests.aggregator.doors import (
    NOW_MS,
    START_MS,
    arrow,
    arrow_of,
    catalogue,
    encode,
    heartbeat,
    profile,
    record,
    traffic,
    window_key,
)
from tidegauge.records import INVALID_REASONS
from tidegauge.summaries.window_summary import Gathered, WindowSummary, summarise, summarise_all


def folded(values: Sequence[bytes | None], now_ms: int = NOW_MS) -> list[SimpleNamespace]:
    rows = fold_batch(arrow(values), catalogue(), now_ms).to_pylist()
    return [SimpleNamespace(**row) for row in rows]


def reasons(values: Sequence[bytes | None], now_ms: int = NOW_MS) -> list[str | None]:
    return [row.reason for row in folded(values, now_ms)]


def test_a_batch_becomes_one_row_per_window() -> None:
    rows = fold_batch(arrow_of(traffic(10)), catalogue(), NOW_MS)
    parts = [part for _, part in parts_of(rows.to_pandas())]
    assert set(rows.column("monitor").to_pylist()) == {"doors"}
    assert set(rows.column("shard").to_pylist()) == {shard_of("doors")}
    # The first heartbeat stands on the end of the window before, the last on the start of the window after.
    assert [(part.key, part.records, part.inside) for part in sorted(parts, key=lambda part: part.key)] == [
        (window_key(-5_000), 0, 0),
        (window_key(0), 100, 105),
        (window_key(5_000), 100, 105),
        (window_key(10_000), 0, 1),
    ]
    (source,) = {name for part in parts for name in part.sources}
    assert {part.sources[source] - START_MS for part in parts} == {0, 5_000, 10_000}


def test_a_row_carries_the_summary_of_its_windows_messages() -> None:
    messages = traffic(4)
    (row,) = [row for row in folded([encode(message) for message in messages]) if row.records]
    statistics = catalogue().monitors["doors"].statistics
    records = [message for message in messages if not hasattr(message, "account")]
    beats = [message for message in messages if hasattr(message, "account")]
    expected = summarise(records, beats, profile(), statistics)  # type: ignore[arg-type]
    assert row.summary == expected.encode()


def test_a_record_that_comes_twice_is_folded_once_and_counted() -> None:
    (row,) = folded([encode(record(0)), encode(record(0)), encode(record(1))])
    summary = WindowSummary.decode(row.summary)
    assert (row.records, summary.requests.requests, summary.moments.count.tolist()) == (2, 2, [2, 2, 2])
    assert summary.account.completeness(window_key(0).window).duplicates == 1


def test_partitions_share_their_windows_and_each_has_the_latest_time_of_what_was_read_of_it() -> None:
    of_partitions = {0: [record(2), record(0)], 3: [record(1), heartbeat(4)], 5: [record(1)]}
    batch = pa.Table.from_batches([arrow_of(messages, partition=at) for at, messages in of_partitions.items()])
    rows = fold_batch(batch.combine_chunks().to_batches()[0], catalogue(), NOW_MS).to_pylist()
    (row,) = [row for row in rows if row["records"]]
    assert {name: latest_ms - START_MS for name, latest_ms in orjson.loads(row["sources"]).items()} == {
        "tidegauge.inference/0": 2,
        "tidegauge.inference/3": 4,
    }
    assert (row["records"], WindowSummary.decode(row["summary"]).requests.requests) == (3, 3)


def test_a_window_that_has_only_what_came_before_in_another_says_so() -> None:
    again = replace(record(0), time_ms=START_MS + 6_000)
    first, second = folded([encode(record(0)), encode(again)])
    assert [(row.start_ms - START_MS, row.records, orjson.loads(row.sources)) for row in (first, second)] == [
        (0, 1, {"tidegauge.inference/0": START_MS}),
        (5_000, 0, {}),
    ]
    assert WindowSummary.decode(second.summary).account.completeness(window_key(5_000).window).duplicates == 1


def test_model_versions_have_windows_of_their_own() -> None:
    rows = folded([encode(record(0, version="1")), encode(record(1, version="2"))])
    assert {(row.version, row.records) for row in rows} == {("1", 1), ("2", 1)}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not_json"),
        (None, "not_json"),
        (b"[]", "not_an_object"),
        (b'{"v":2}', "unknown_version"),
        (encode(record(0, monitor="windows")), "unknown_monitor"),
        (encode(record(0, baseline="c" * 64)), "unknown_baseline"),
        (encode(record(0, version="1\0")), "bad_version"),
        (encode(record(0, version="1" * 300)), "bad_version"),
        (encode(record(-START_MS - 1)), "before_epoch"),
        (encode(record(0, issues={"missing_value": "many"})), "wrong_type"),
    ],
    ids=["broken", "tombstone", "list", "v2", "monitor", "baseline", "nul", "long", "1969", "issues"],
)
def test_a_message_that_cannot_be_used_becomes_a_dead_letter(value: bytes | None, reason: str) -> None:
    rows = folded([encode(record(0)), value, encode(record(1))])
    assert [row.records for row in rows if row.summary] == [2]
    (dead,) = [row for row in rows if row.reason]
    assert (dead.reason, dead.monitor, dead.topic) == (reason, "", "tidegauge.dead-letter")
    assert dead.key == "tidegauge.inference/0/1"
    assert reason in (*INVALID_REASONS, *REFUSALS)


def test_a_dead_letter_says_where_the_message_is_and_how_it_begins() -> None:
    (row,) = folded([b"\xff" + b"x" * 5000])
    letter = orjson.loads(row.letter)
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("tidegauge.inference", 0, 0)
    assert (letter["kind"], letter["reason"], letter["size_bytes"]) == ("dead_letter", "not_json", 5001)
    assert letter["value"] == "\ufffd" + "x" * (KEPT_BYTES - 1)


def test_a_clock_more_than_a_minute_ahead_goes_to_the_dead_letters() -> None:
    value = encode(record(0))
    assert reasons([value], START_MS - MAXIMUM_LEAD_MS) == [None]
    assert reasons([value], START_MS - MAXIMUM_LEAD_MS - 1) == ["clock_ahead"]


def test_a_heartbeat_from_the_future_does_not_move_event_time() -> None:
    assert reasons([encode(heartbeat(120_000))], START_MS) == ["clock_ahead"]


class TestRecordThatTheKernelCannotTake:
    """None is known: should there be one, it must cost itself and not stop the stream."""

    @pytest.fixture(autouse=True)
    def _kernel_that_fails_on_status_666(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(windows: Sequence[Gathered]) -> list[WindowSummary]:
            if any(666 in gathered.records.statuses() for gathered in windows):
                raise ValueError("666")
            return summarise_all(windows)

        monkeypatch.setattr("aggregator.fold.summarise_all", failing)

    def test_costs_only_itself(self) -> None:
        good = [encode(record(at)) for at in range(50)]
        rows = folded([*good[:25], encode(record(1, seq=99, status=666)), *good[25:]])
        assert [(row.records, row.reason) for row in rows] == [(50, None), (None, "unusable")]
        assert WindowSummary.decode(rows[0].summary).requests.requests == 50

    def test_moves_no_event_time(self) -> None:
        at_ms = {"good": 10, "heard": 20, "unusable": 4_000}
        messages = [record(at_ms["good"]), heartbeat(at_ms["heard"]), record(at_ms["unusable"], seq=99, status=666)]
        row, letter = folded([encode(message) for message in messages])
        assert orjson.loads(row.sources) == {"tidegauge.inference/0": START_MS + at_ms["heard"]}
        assert (row.records, row.inside, letter.reason) == (1, 2, "unusable")

    def test_gives_no_summary_when_it_is_alone(self) -> None:
        assert reasons([encode(record(0, status=666))]) == ["unusable"]


def test_batches_are_folded_together_until_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [arrow_of([record(100 * at)]) for at in range(5)]
    monkeypatch.setattr(folding, "MOST_MESSAGES", 2)
    clock = iter([NOW_MS] * 3)
    given = list(fold(map(Messages.of, batches), catalogue(), lambda: next(clock)))
    assert [rows.column("records").to_pylist() for rows in given] == [[2], [2], [1]]
    assert {rows.schema for rows in given} == {FOLDED}


def test_batches_are_folded_together_until_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MOST_BYTES", 1)
    batches = [arrow_of([record(at)]) for at in range(3)]
    assert len(list(fold(map(Messages.of, batches), catalogue(), lambda: NOW_MS))) == 3


def test_a_dead_letter_of_a_later_batch_has_its_own_offset() -> None:
    batches = [arrow([encode(record(0)), encode(record(1))]), arrow([encode(record(2)), b"{"])]
    (rows,) = fold(map(Messages.of, batches), catalogue(), lambda: NOW_MS)
    assert rows.column("records").to_pylist() == [3, None]
    assert rows.column("key").to_pylist() == [None, "tidegauge.inference/0/1"]


def test_cycle_collection_is_on_between_folds() -> None:
    folds = fold(map(Messages.of, [arrow_of([record(0)])]), catalogue(), lambda: NOW_MS)
    assert [gc.isenabled() for _ in folds] == [True]


def test_no_batches_give_no_rows() -> None:
    assert list(fold(iter([]), catalogue(), lambda: NOW_MS)) == []


def test_the_columns_that_spark_is_told_are_those_of_the_fold() -> None:
    words = {pa.string(): "string", pa.int64(): "bigint", pa.binary(): "binary"}
    assert ", ".join(f"{field.name} {words[field.type]}" for field in FOLDED) == FOLDED_COLUMNS
