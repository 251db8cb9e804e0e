from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import segments as module
from aggregator.entries import Entries
from aggregator.progress import Held, Place, WindowKey
from aggregator.segments import (
    MEMORY_SEGMENTS,
    SEGMENT_BYTES,
    Index,
    Segment,
    Segments,
    Sort,
    StoredMemories,
    StoredWindows,
    gather_memories,
)
from aggregator.storage import SHARD, InState


class Table(dict[tuple[str], tuple[str | None, bytes | None]]):
    """Spark's map, which counts how often it is asked."""

    asked = 0

    def getValue(self, key: tuple[str]) -> tuple[str | None, bytes | None] | None:
        self.asked += 1
        return self.get(key)

    def updateValue(self, key: tuple[str], value: tuple[str | None, bytes | None]) -> None:
        self.asked += 1
        self[key] = value

    def removeKey(self, key: tuple[str]) -> None:
        self.asked += 1
        del self[key]


class Shelf:
    """A shard's segments from step to step, in Spark's state."""

    def __init__(self) -> None:
        self.table, self.index = Table(), Index()

    def step(self) -> Segments:
        self._storage = InState(Entries(self.table))
        return Segments(self._storage, self.index)

    def save(self, step: Segments) -> None:
        step.save()
        self._storage.save(b"", names=step.names, wanted=self.index.names)

    @property
    def numbers(self) -> list[int]:
        return sorted(int(name.removeprefix("segment/")) for (name,) in self.table if name != SHARD)


def test_things_of_a_step_are_one_segment_of_each_sort() -> None:
    shelf = Shelf()
    step = shelf.step()
    sorts = [list(Sort)[at % 3] for at in range(21)]
    places = [step.put(b"%d" % at, sort) for at, sort in enumerate(sorts)]
    assert not shelf.table
    shelf.save(step)
    assert (shelf.numbers, shelf.table.asked) == ([1, 2, 3], 4)
    assert shelf.index == Index(4, {number: Segment(f"segment/{number}", 7) for number in (1, 2, 3)})
    again = shelf.step()
    assert [again.get(place) for place in places] == [b"%d" % at for at in range(21)]
    assert shelf.table.asked == 7


def test_only_what_hardly_changes_is_in_sparks_state_as_bytes() -> None:
    shelf = Shelf()
    step = shelf.step()
    numbers = {sort: step.put(b"\xff", sort).segment for sort in Sort}
    shelf.save(step)
    as_bytes = {sort for sort, number in numbers.items() if shelf.table[f"segment/{number}",][0] is None}
    assert as_bytes == {Sort.SETTLED}


def test_a_segment_goes_with_the_last_thing_in_it() -> None:
    shelf = Shelf()
    step = shelf.step()
    places = [step.put(b"x", Sort.SETTLED) for _ in range(3)]
    shelf.save(step)
    for place in places:
        assert shelf.numbers == [1]
        last = shelf.step()
        last.remove(place)
        shelf.save(last)
    assert (shelf.numbers, shelf.index) == ([], Index(2, {}))


def test_what_comes_and_goes_in_one_step_leaves_nothing() -> None:
    shelf = Shelf()
    step = shelf.step()
    for size in (1, SEGMENT_BYTES):
        step.remove(step.put(b"x" * size, Sort.OPEN))
    shelf.save(step)
    assert (shelf.numbers, shelf.index.segments) == ([], {})


def test_a_segment_is_closed_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    shelf = Shelf()
    step = shelf.step()
    places = [step.put(b"xxxx", Sort.OPEN) for _ in range(7)]
    shelf.save(step)
    assert places == [Place(at // 3 + 1, at % 3) for at in range(7)]
    assert [segment.wanted for segment in shelf.index.segments.values()] == [3, 3, 1]


def test_memories_of_monitors_that_are_seldom_judged_are_kept_in_few_segments() -> None:
    """Each step one more monitor is judged, besides one that always is."""
    shelf, places = Shelf(), dict[str, dict[str, Place]]()
    for at in range(50):
        step = shelf.step()
        for monitor in ("busy", f"quiet-{at}"):
            StoredMemories(step, places, monitor).put("1", "b", f"{monitor} {at}".encode())
        gather_memories(step, places)
        shelf.save(step)
        assert len(shelf.numbers) <= MEMORY_SEGMENTS + 1
    step = shelf.step()
    assert StoredMemories(step, places, "busy").get("1", "b") == b"busy 49"
    for at in range(50):
        assert StoredMemories(step, places, f"quiet-{at}").get("1", "b") == b"quiet-%d %d" % (at, at)
    for monitor in list(places):
        StoredMemories(step, places, monitor).clear()
    shelf.save(step)
    assert (shelf.numbers, places) == ([], {})
    assert StoredMemories(step, places, "busy").get("1", "b") is None


KEYS = [WindowKey("1", "b", start_ms, start_ms + 5) for start_ms in range(4)]
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.tuples(st.sampled_from(["put", "move", "remove"]), st.booleans()))


@given(st.lists(CHANGES, max_size=8), st.integers(1, 12))
def test_a_window_is_found_wherever_steps_have_moved_it(
    steps: list[dict[WindowKey, tuple[str, bool]]], full: int
) -> None:
    shelf, held, wanted = Shelf(), dict[WindowKey, Held](), dict[WindowKey, bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT_BYTES", full)
        for number, changes in enumerate(steps):
            step = shelf.step()
            store = StoredWindows(step, held)
            for key, (change, settled) in changes.items():
                if change == "put":
                    wanted[key] = b"%d" % number
                if key not in wanted:
                    continue
                if change == "remove":
                    store.remove(key)
                    del held[key], wanted[key]
                else:
                    data = wanted[key] if change == "put" else store.get(key)
                    held[key] = Held(place=store.put(key, data, settled=settled))
            shelf.save(step)
            store = StoredWindows(shelf.step(), held)
            assert {key: store.get(key) for key in held} == wanted
            assert sum(segment.wanted for segment in shelf.index.segments.values()) == len(wanted)
            assert set(shelf.numbers) == set(shelf.index.segments) == {one.place.segment for one in held.values()}
