"""Messages on disk: in order, bounded, one process's alone, and whole whatever happens to that process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.spool_file import (
    COPY,
    HEARTBEAT,
    RECORD,
    Message,
    SpoolDamaged,
    SpoolFile,
    SpoolFull,
    SpoolInUse,
)

ROOM = 1 << 24
A_CHILD = """
import sys
from pathlib import Path
from transformer.spool_file import RECORD, Message, SpoolFile
file = SpoolFile(Path(sys.argv[1]), maximum_bytes=1 << 24)
file.append([Message(RECORD, str(number), b"v") for number in range(100)])
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Callable[..., SpoolFile]]:
    opened: list[SpoolFile] = []

    def open_(name: str = "a", maximum_bytes: int = ROOM) -> SpoolFile:
        opened.append(SpoolFile(tmp_path / f"{name}.spool", maximum_bytes=maximum_bytes))
        return opened[-1]

    yield open_
    for file in opened:
        file.close()


def records(*keys: str, size: int = 1) -> list[Message]:
    return [Message(RECORD, key, bytes(size)) for key in keys]


def keys_of(file: SpoolFile, count: int = 1_000, size_bytes: int = ROOM) -> list[str]:
    return [taken.message.key for taken in file.next(count=count, size_bytes=size_bytes)]


def test_messages_come_in_the_order_in_which_they_were_added(open_file: Callable[..., SpoolFile]) -> None:
    file = open_file()
    file.append([Message(RECORD, "a", b"1"), Message(COPY, "a", b"1")])
    file.append([Message(HEARTBEAT, "h", b"2")])
    assert (file.records, file.unread) == (1, 3)
    taken = file.next(count=10, size_bytes=ROOM)
    assert [entry.message for entry in taken] == [
        Message(RECORD, "a", b"1"),
        Message(COPY, "a", b"1"),
        Message(HEARTBEAT, "h", b"2"),
    ]
    assert (file.records, file.unread) == (1, 0)
    file.remove(taken)
    assert (file.records, file.is_empty()) == (0, True)


def test_a_reading_is_bounded_in_number_and_in_size(open_file: Callable[..., SpoolFile]) -> None:
    file = open_file()
    file.append(records("a", "b", "c", "d", "e", size=1000))
    assert keys_of(file, count=2) == ["a", "b"]
    assert keys_of(file, size_bytes=1_500) == ["c", "d"]
    assert keys_of(file) == ["e"]
    assert keys_of(file) == []


def test_what_is_put_first_comes_before_all_others_next_time(open_file: Callable[..., SpoolFile]) -> None:
    file = open_file()
    file.append(records("c", "d"))
    file.put_first(records("a", "b"))
    assert keys_of(file) == ["c", "d"]
    file.close()
    assert keys_of(open_file()) == ["a", "b", "c", "d"]


def test_a_full_file_takes_all_of_an_addition_or_nothing(open_file: Callable[..., SpoolFile]) -> None:
    file = open_file(maximum_bytes=200_000)
    with pytest.raises(SpoolFull):
        for number in range(100):
            file.append(records(f"{number}-a", f"{number}-b", size=5_000))
    kept = keys_of(file)
    assert len(kept) % 2 == 0
    assert len(kept) == file.records >= 20
    assert file.used_bytes <= 200_000


def test_room_that_removed_messages_leave_is_used_again(open_file: Callable[..., SpoolFile]) -> None:
    file = open_file(maximum_bytes=100_000)
    for number in range(50):
        file.append(records(str(number), size=20_000))
        file.remove(file.next(count=1, size_bytes=1))
    assert file.used_bytes < 50_000


def test_an_empty_file_leaves_nothing_behind(open_file: Callable[..., SpoolFile], tmp_path: Path) -> None:
    file = open_file()
    file.append(records("a"))
    file.remove(file.next(count=1, size_bytes=1))
    file.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_all_it_has_written_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    child = subprocess.Popen(
        [sys.executable, "-c", A_CHILD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        with pytest.raises(SpoolInUse):
            SpoolFile(path, maximum_bytes=ROOM)
    finally:
        child.kill()
        child.communicate()
    file = SpoolFile(path, maximum_bytes=ROOM)
    assert keys_of(file) == [str(number) for number in range(100)]
    file.close()


def test_what_is_no_spool_is_said_so_and_can_be_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    path.write_bytes(os.urandom(10_000))
    with pytest.raises(SpoolDamaged, match=r"a\.spool: file is not a database"):
        SpoolFile(path, maximum_bytes=ROOM)


def test_a_file_of_a_later_version_is_not_read(open_file: Callable[..., SpoolFile]) -> None:
    file = open_file()
    file.append(records("a"))
    file._connection.execute("PRAGMA user_version = 2")
    file.close()
    with pytest.raises(SpoolDamaged, match="written by a later version"):
        open_file()


def test_damage_within_a_file_is_told_when_it_is_met(open_file: Callable[..., SpoolFile], tmp_path: Path) -> None:
    file = open_file()
    for number in range(200):
        file.append(records(str(number), size=3_000))
    file.close()
    path = tmp_path / "a.spool"
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) * 2 // 3] = os.urandom(len(content) * 2 // 3 - len(content) // 3)
    path.write_bytes(content)
    with pytest.raises(SpoolDamaged):
        while open_file().next(count=1_000, size_bytes=ROOM):
            pass
    assert path.exists()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5)),
            st.tuples(st.just("first"), st.integers(1, 5)),
            st.tuples(st.just("read"), st.integers(1, 7)),
            st.tuples(st.just("remove"), st.integers(0, 3)),
            st.tuples(st.just("again"), st.just(0)),
        ),
        max_size=30,
    )
)
def test_it_is_a_list_that_survives(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    path = tmp_path_factory.mktemp("spool") / "a.spool"
    file, ahead, behind, read = SpoolFile(path, maximum_bytes=ROOM), [], [], []  # type: ignore[var-annotated]
    made = 0
    for step, number in steps:
        new = [str(made + position) for position in range(number)]
        made += number
        if step == "append":
            file.append(records(*new))
            behind += new
        elif step == "first":
            file.put_first(records(*new))
            ahead = new + ahead
        elif step == "read":
            taken = file.next(count=number, size_bytes=ROOM)
            assert [entry.message.key for entry in taken] == behind[:number]
            read += taken
            behind = behind[number:]
        elif step == "remove":
            file.remove(read[:number])
            read = read[number:]
        else:
            file.close()
            file = SpoolFile(path, maximum_bytes=ROOM)
            behind = ahead + [entry.message.key for entry in read] + behind
            ahead, read = [], []
        assert file.unread == len(behind)
        assert file.records == len(ahead) + len(read) + len(behind)
    file.close()
