"""What the checkpoint directory remembers: topics and baselines; and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from aggregator.catalogue import Catalogue
from aggregator.checkpoint import EARLIER_BASELINES, Checkpoint
from aggregator.errors import StartError
from tests.aggregator.doors import catalogue, profile
from tests.support.examples import SCHEMA, mixed_rows
from tidegauge.baseline import BaselineProfile
from tidegauge.kafka_spec import Topic, Topics


def with_baseline(seed: int) -> Catalogue:
    other = BaselineProfile.fit(np.asarray(mixed_rows(300, seed=seed)), SCHEMA)
    monitors = catalogue().monitors
    return Catalogue(monitors, {"doors": other.content_id}, {other.content_id: other.dump()})


def begin(directory: Path, given: Catalogue) -> Catalogue:
    """As at every start of a query."""
    return Checkpoint.open(directory).begin(given)[1]


def test_a_new_one_has_nothing_to_add(tmp_path: Path) -> None:
    assert begin(tmp_path, catalogue()) == replace(catalogue(), earlier={"doors": ()})


def test_records_scored_by_the_baseline_before_are_still_taken(tmp_path: Path) -> None:
    begin(tmp_path, catalogue())
    now = begin(tmp_path, with_baseline(2))
    assert now.accepts("doors", profile().content_id)
    assert now.accepts("doors", with_baseline(2).baselines["doors"])
    assert not now.accepts("doors", "c" * 64)
    assert not now.accepts("gates", profile().content_id)
    before = now.profile(profile().content_id)
    assert before is not None
    assert before.content_id == profile().content_id


def test_only_the_latest_baselines_are_kept(tmp_path: Path) -> None:
    for seed in range(2, EARLIER_BASELINES + 4):
        now = begin(tmp_path, with_baseline(seed))
    assert len(now.earlier["doors"]) == EARLIER_BASELINES
    assert len(list((tmp_path / "baselines").iterdir())) == EARLIER_BASELINES + 1


def test_a_baseline_that_comes_back_is_the_latest_again(tmp_path: Path) -> None:
    for given in (catalogue(), with_baseline(2), catalogue()):
        now = begin(tmp_path, given)
    assert now.earlier["doors"] == (with_baseline(2).baselines["doors"],)


def test_a_damaged_baseline_is_left_out(tmp_path: Path) -> None:
    begin(tmp_path, catalogue())
    (tmp_path / "baselines" / f"{profile().content_id}.json").write_text("{}")
    assert begin(tmp_path, with_baseline(2)).earlier == {"doors": ()}


def test_topics_are_read_on_with_when_their_monitors_are_gone(tmp_path: Path) -> None:
    begin(tmp_path, catalogue())
    doors = catalogue().monitors["doors"]
    gates = replace(doors, kafka=replace(doors.kafka, topics=Topics(inference=Topic("gates.inference"))))
    known, _ = Checkpoint.open(tmp_path).begin(replace(catalogue(), monitors={"doors": gates}))
    assert known.topics == {"tidegauge.inference", "gates.inference"}
    assert Checkpoint.open(tmp_path) == known


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (orjson.dumps({"format": 5, "topics": [], "baselines": {}}), "of format 5, this program reads 6: go on with"),
        (orjson.dumps({"format": 7, "topics": [], "baselines": {}}), "of format 7, this program reads 6"),
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
    ],
    ids=["earlier", "newer", "broken", "foreign"],
)
def test_what_another_program_wrote_is_refused_with_a_way_on(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "tidegauge.json").write_bytes(content)
    with pytest.raises(StartError, match=said) as raised:
        Checkpoint.open(tmp_path)
    assert "start with an empty --checkpoint directory" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_from_before_formats_were_told_is_refused_as_well(tmp_path: Path) -> None:
    (tmp_path / "offsets").mkdir()
    with pytest.raises(StartError, match="of format 1, this program reads 6"):
        Checkpoint.open(tmp_path)
