from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from aggregator.cycles import no_search, spare_what_stays


@pytest.fixture
def searched() -> Iterator[None]:
    yield
    spare_what_stays.cache_clear()
    gc.unfreeze()


def test_the_search_goes_on_after_a_task_that_failed_and_stays_off_where_it_was() -> None:
    with pytest.raises(ValueError, match="bad"), no_search():
        assert not gc.isenabled()
        raise ValueError("bad")
    assert gc.isenabled()
    with no_search():
        with no_search():
            pass
        assert not gc.isenabled()


@pytest.mark.usefixtures("searched")
def test_what_comes_after_the_first_task_of_a_kind_is_searched() -> None:
    spare_what_stays.cache_clear()
    spare_what_stays("read")
    spared = gc.get_freeze_count()
    assert spared > 0
    cycles = [[] for _ in range(100)]
    for one in cycles:
        one.append(one)
    spare_what_stays("read")
    assert gc.get_freeze_count() <= spared
    del cycles, one
    assert gc.collect() >= 100
