"""What a shard keeps, from step to step, whatever becomes of the attempts at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.entries import Entries
from aggregator.errors import StateLost, told
from aggregator.storage import InFiles, InState, Storage
from tests.aggregator.test_segments import Table


class Run:
    """A query in which Spark keeps what `table` holds with each micro-batch that ends well."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.table, self.batch, self.committed = directory, Table(), 0, Table()

    def open(self) -> InFiles:
        return InFiles(Entries(self.table), self.directory, self.batch)

    def step(self, *, new: int, gone: int) -> None:
        """Adds so many segments and does without so many of the oldest."""
        storage = self.open()
        before = names_in(storage)
        names = [storage.put(at, f"{self.batch} {at}".encode(), settled=False) for at in range(new)]
        after = [*before, *names][gone:]
        storage.save(" ".join(after).encode(), names=[*before, *names], wanted=after)

    def commit(self) -> None:
        self.committed, self.batch = Table(self.table), self.batch + 1

    def again(self) -> None:
        """From the state before the micro-batch."""
        self.table = Table(self.committed)

    @property
    def files(self) -> set[str]:
        return {file.name for file in self.directory.iterdir()} if self.directory.exists() else set()


def names_in(storage: Storage) -> list[str]:
    return (storage.load() or b"").decode().split()


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=2)
ATTEMPTS = st.lists(STEPS, min_size=1, max_size=3)
"""At one micro-batch; the last one counts."""


@given(st.lists(ATTEMPTS, max_size=8))
def test_a_micro_batch_can_be_run_again_from_what_it_began_with(batches: list[list[list[tuple[int, int]]]]) -> None:
    with TemporaryDirectory() as directory:
        run = Run(Path(directory, "windows", "0"))
        for attempts in batches:
            for steps in attempts:
                run.again()
                for new, gone in steps:
                    storage = run.open()
                    for name in names_in(storage):
                        assert storage.get(name)
                    run.step(new=new, gone=gone)
            run.commit()
        wanted = names_in(run.open())
        for _ in range(2):
            run.step(new=0, gone=0)
            run.commit()
        assert len(run.files.difference(wanted)) <= 2  # the shard's own file, and the one before it
        assert run.files.issuperset(wanted)


def test_an_attempt_that_comes_to_count_after_all_has_its_files() -> None:
    """Two attempts at a micro-batch end; the next begins from one, and is begun anew from the other."""
    with TemporaryDirectory() as directory:
        run = Run(Path(directory))
        run.step(new=1, gone=0)
        run.commit()
        run.step(new=1, gone=0)
        one = Table(run.table)
        run.again()
        run.step(new=1, gone=0)
        run.commit()
        run.step(new=1, gone=0)
        run.table = one
        assert [run.open().get(name) for name in names_in(run.open())] == [b"0 0", b"1 0"]


def test_a_file_that_is_gone_ends_the_query_with_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step(new=1, gone=0)
    (name,) = names_in(run.open())
    (tmp_path / name).unlink()
    with pytest.raises(StateLost, match="is gone, which the checkpoint needs: bring it back, or start with an empty"):
        run.open().get(name)
    of_spark = RuntimeError("Traceback:\naggregator.errors.StateLost: windows/0/7-ab is gone\nJVM stacktrace:")
    assert told(of_spark) == "StateLost: windows/0/7-ab is gone"


@pytest.fixture(params=["state", "files"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    entries = Entries(Table())
    yield lambda: InState(entries) if request.param == "state" else InFiles(entries, tmp_path / "0", batch=1)


def test_what_was_saved_is_there_in_the_next_step(storage: Any) -> None:
    assert storage().load() is None
    first = storage()
    names = [first.put(number, b"segment %d" % number, settled=number == 2) for number in (1, 2)]
    first.save(b"shard", names=names, wanted=names)
    second = storage()
    assert second.load() == b"shard"
    assert [second.get(name) for name in names] == [b"segment 1", b"segment 2"]
    second.save(b"later", names=names, wanted=names[1:])
    assert storage().load() == b"later"
    assert storage().get(names[1]) == b"segment 2"
