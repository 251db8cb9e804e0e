from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import segments as module
from aggregator.entries import Entries
from aggregator.progress import Held, Place, WindowKey
from aggregator.segments import Index, Segments, StoredWindows


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

    @property
    def segments(self) -> list[int]:
        return sorted(int(name.removeprefix("segment/")) for (name,) in self)


def test_summaries_of_a_step_are_one_entry_of_each_sort() -> None:
    table, index = Table(), Index()
    step = Segments(Entries(table), index)
    places = [step.put(b"%d" % at, settled=at % 2 == 0) for at in range(20)]
    assert not table
    step.save()
    assert (len(table), table.asked, index) == (2, 2, Index(3, {1: 10, 2: 10}))
    again = Segments(Entries(table), index)
    assert [again.get(place) for place in places] == [b"%d" % at for at in range(20)]
    assert table.asked == 4


def test_only_what_hardly_changes_is_stored_as_bytes() -> None:
    table = Table()
    step = Segments(Entries(table), Index())
    settled, open_ = (step.put(b"\xff", settled=settled).segment for settled in (True, False))
    step.save()
    assert [kept is None for kept in table[f"segment/{settled}",]] == [True, False]
    assert [kept is None for kept in table[f"segment/{open_}",]] == [False, True]


def test_a_segment_goes_with_the_last_of_its_summaries() -> None:
    table, index = Table(), Index()
    step = Segments(Entries(table), index)
    places = [step.put(b"x", settled=True) for _ in range(3)]
    step.save()
    for place in places:
        assert table.segments == [1]
        last = Segments(Entries(table), index)
        last.remove(place)
        last.save()
    assert (table, index) == ({}, Index(2, {}))


def test_a_segment_is_closed_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    table, index = Table(), Index()
    step = Segments(Entries(table), index)
    places = [step.put(b"xxxx", settled=False) for _ in range(7)]
    step.save()
    assert places == [Place(at // 3 + 1, at % 3) for at in range(7)]
    assert (table.segments, index) == ([1, 2, 3], Index(4, {1: 3, 2: 3, 3: 1}))


KEYS = [WindowKey("1", "b", start_ms, start_ms + 5) for start_ms in range(4)]
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.tuples(st.sampled_from(["put", "move", "remove"]), st.booleans()))


@given(st.lists(CHANGES, max_size=8), st.integers(1, 12))
def test_a_window_is_found_wherever_steps_have_moved_it(
    steps: list[dict[WindowKey, tuple[str, bool]]], full: int
) -> None:
    table, index, held, wanted = Table(), Index(), dict[WindowKey, Held](), dict[WindowKey, bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT_BYTES", full)
        for number, changes in enumerate(steps):
            step = Segments(Entries(table), index)
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
            step.save()
            store = StoredWindows(Segments(Entries(table), index), held)
            assert {key: store.get(key) for key in held} == wanted
            assert sum(index.wanted.values()) == len(wanted)
            assert set(table.segments) == set(index.wanted) == {one.place.segment for one in held.values()}
