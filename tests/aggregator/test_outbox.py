from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from aggregator.courier import Courier, Refused, SinkFailed
from aggregator.evaluate import ALERT, DEAD_LETTER, DRIFT, PROVISIONAL, REPORT, Output
from aggregator.outbox import ENTRY_PARCELS, Outbox
from aggregator.packed import TOGETHER, TOGETHER_BYTES, Parcel, packed
from tests.support.waiting import wait_until


def output(key: str, kind: str = REPORT) -> Parcel:
    (parcel,) = packed([Output(kind, None if kind == ALERT else "topic", key, b'{"a":1}')])
    return parcel


def outbox(directory: Path, *sinks: str, maximum_bytes: int = 1 << 30) -> Outbox:
    opened = Outbox(directory, [REPORT, DRIFT, DEAD_LETTER], maximum_bytes=maximum_bytes)
    opened.follow(sinks)
    return opened


def taken(box: Outbox, sink: str) -> list[str]:
    """The keys of all that waits, delivered."""
    keys: list[str] = []
    while entry := box.next(sink, within_s=0):
        keys += [one.key for one in entry.outputs]
        box.delivered(sink, entry.number)
    return keys


def entries(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.glob("*.arrow"))


EARLIER = {
    "plain": {"value": [b"{}"]},
    "each compressed": {"value": [pa.compress(b"{}", "zstd", asbytes=True)], "length": [2]},
}


@pytest.mark.parametrize("values", EARLIER.values(), ids=EARLIER)
def test_an_entry_of_an_earlier_version_is_read(tmp_path: Path, values: dict[str, list[object]]) -> None:
    columns = {"kind": [REPORT], "topic": ["topic"], "key": ["k"], **values}
    batch = pa.RecordBatch.from_pydict(columns)
    with pa.OSFile(str(tmp_path / f"{1:016}.arrow"), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    entry = outbox(tmp_path, "one").next("one", within_s=0)
    assert entry is not None
    assert entry.outputs == (Output(REPORT, "topic", "k", b"{}"),)


def test_each_sink_gets_all_in_order_and_what_all_have_is_removed(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one", "two")
    box.append([output("a"), output("b")])
    box.append([output("c")])
    assert taken(box, "one") == ["a", "b", "c"]
    assert (box.waiting("one"), box.waiting("two"), len(entries(tmp_path))) == (0, 2, 2)
    assert taken(box, "two") == ["a", "b", "c"]
    assert (entries(tmp_path), box.size_bytes) == ([], 0)


def test_outputs_come_out_as_they_went_in(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one")
    given = (
        Output(REPORT, "t", "k", bytes(range(256))),
        Output(REPORT, None, "", b""),
        Output(REPORT, "t", "long", b'{"a":1}' * TOGETHER_BYTES),
        Output(DRIFT, "other", "long", b'{"a":1}'),
    )
    box.append(packed(given))
    entry = box.next("one", within_s=0)
    assert entry is not None
    assert entry.outputs == given


def test_only_its_kinds_are_taken(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one")
    box.append([output("a", ALERT)])
    box.append([output("b", ALERT), output("c"), output("d", PROVISIONAL)])
    assert taken(box, "one") == ["c"]


def test_what_is_packed_together_is_small_and_bounded() -> None:
    given = [Output(kind, "topic", str(at), b"x" * 1000) for at in range(2000) for kind in (REPORT, ALERT)]
    parcels = list(packed(given))
    packs = [parcel for parcel in parcels if parcel.kind == TOGETHER]
    assert len(parcels) == 2000 + len(packs)
    assert all(TOGETHER_BYTES <= pack.length < TOGETHER_BYTES + 1000 for pack in packs[:-1])
    assert sum(len(pack.value) for pack in packs) < 10_000
    outputs = [output for parcel in parcels for output in parcel.outputs()]
    for kind in (REPORT, ALERT):
        assert [one for one in outputs if one.kind == kind] == [one for one in given if one.kind == kind]


def test_after_a_restart_each_goes_on_where_it_was(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one", "two")
    box.append([output("a")])
    box.append([output("b")])
    first = box.next("one", within_s=0)
    assert first is not None
    box.delivered("one", first.number)
    again = outbox(tmp_path, "one", "two")
    again.append([output("c")])
    assert taken(again, "one") == ["b", "c"]
    assert taken(again, "two") == ["a", "b", "c"]


def test_numbers_go_on_after_a_restart_with_nothing_left(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one")
    box.append([output("a")])
    assert taken(box, "one") == ["a"]
    again = outbox(tmp_path, "one")
    again.append([output("b")])
    assert taken(again, "one") == ["b"]


def test_a_sink_that_is_left_out_holds_nothing_back_and_a_new_one_begins_with_what_is_there(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one", "gone")
    box.append([output("a")])
    box.append([output("b")])
    first = box.next("one", within_s=0)
    assert first is not None
    box.delivered("one", first.number)
    again = outbox(tmp_path, "one", "new")
    assert len(entries(tmp_path)) == 2
    assert (taken(again, "one"), taken(again, "new")) == (["b"], ["a", "b"])
    assert entries(tmp_path) == []
    assert not (tmp_path / "gone.cursor").exists()


def test_a_file_that_was_cut_off_is_none(tmp_path: Path) -> None:
    outbox(tmp_path, "one").append([output("a")])
    (tmp_path / ".0000000000000002.arrow.new").write_bytes(b"half")
    box = outbox(tmp_path, "one")
    assert taken(box, "one") == ["a"]
    assert list(tmp_path.glob(".*")) == []


def test_a_disk_that_is_full_leaves_no_half_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = outbox(tmp_path, "one")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("os.fsync", full)
        box.append([output("a")])
    assert list(tmp_path.iterdir()) == []
    box.append([output("a")])
    assert taken(box, "one") == ["a"]


def test_many_outputs_make_several_entries(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one")
    keys = [str(number) for number in range(ENTRY_PARCELS + 1)]
    box.append(output(key, DEAD_LETTER) for key in keys)
    assert len(entries(tmp_path)) == 2
    assert taken(box, "one") == keys


def test_there_is_room_again_once_the_sinks_have_caught_up(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one", maximum_bytes=1)
    assert box.wait_for_room(within_s=0)
    box.append([output("a")])
    assert not box.wait_for_room(within_s=0)
    taken(box, "one")
    assert box.wait_for_room(within_s=0)


def test_after_closing_a_sink_that_hangs_changes_nothing(tmp_path: Path) -> None:
    box = outbox(tmp_path, "one")
    box.append([output("a")])
    box.close()
    box.delivered("one", 1)
    assert taken(outbox(tmp_path, "one"), "one") == ["a"]


class Pen:
    """A sink that does what the test says."""

    name = "pen"

    def __init__(self) -> None:
        self.written: list[str] = []
        self.failing = 0
        self.refusing: set[str] = set()

    def write(self, outputs: Sequence[Output]) -> None:
        if self.failing:
            self.failing -= 1
            raise SinkFailed("not now") if self.failing % 2 else ValueError("secret")
        self.written += [one.key for one in outputs if one.key not in self.refusing]
        refused = [one for one in outputs if one.key in self.refusing]
        if refused:
            raise Refused("never", refused)

    def idle(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.courier.wait_exponential_jitter", lambda **_: lambda _state: 0.01)


@pytest.mark.usefixtures("_quick")
def test_a_courier_tries_again_until_it_has_worked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pen, box = Pen(), outbox(tmp_path, "pen")
    pen.failing = 3
    courier = Courier(pen, box)
    courier.start()
    box.append([output("a")])
    box.append([output("b")])
    wait_until(lambda: courier.delivered == 2, within_s=20, what="both")
    courier.finish(deadline=time.monotonic() + 5)
    assert pen.written == ["a", "b"]
    assert (courier.failures, courier.failing, courier.waiting) == (3, False, 0)
    assert "sink=pen failures=1 error=ValueError" in caplog.text
    assert "error=not now" in caplog.text
    assert "secret" not in caplog.text


def test_what_will_never_be_taken_is_kept_beside_and_the_rest_goes_on(tmp_path: Path) -> None:
    pen, box = Pen(), outbox(tmp_path, "pen")
    pen.refusing = {"b"}
    courier = Courier(pen, box)
    courier.start()
    box.append([output("a"), output("b"), output("c")])
    box.append([output("d")])
    wait_until(lambda: courier.delivered == 2, within_s=20, what="both")
    courier.finish(deadline=time.monotonic() + 5)
    assert (pen.written, courier.refused) == (["a", "c", "d"], 1)
    (line,) = (tmp_path / "pen.refused.jsonl").read_text().splitlines()
    assert orjson.loads(line) == {"reason": "never", "kind": "report", "topic": "topic", "key": "b", "value": '{"a":1}'}


def test_a_stop_delivers_what_waits(tmp_path: Path) -> None:
    pen, box = Pen(), outbox(tmp_path, "pen")
    courier = Courier(pen, box)
    for number in range(20):
        box.append([output(str(number))])
    courier.start()
    courier.finish(deadline=time.monotonic() + 20)
    assert pen.written == [str(number) for number in range(20)]


def test_a_stop_does_not_wait_for_a_sink_that_fails_and_nothing_is_lost(tmp_path: Path) -> None:
    pen, box = Pen(), outbox(tmp_path, "pen")
    pen.failing = 1_000
    courier = Courier(pen, box)
    courier.start()
    box.append([output("a")])
    wait_until(lambda: courier.failing, within_s=20, what="a failure")
    courier.finish(deadline=time.monotonic() + 60)
    assert not courier._thread.is_alive()
    assert taken(outbox(tmp_path, "pen"), "pen") == ["a"]
