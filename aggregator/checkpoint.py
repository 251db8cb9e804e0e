"""What the checkpoint directory has of ours beside Spark's: its format, topics, and baselines in use before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson

from aggregator.catalogue import Catalogue
from aggregator.errors import StartError
from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidBaseline

FORMAT: Final = 6
"""
1: without this file. 2: with a key of Spark's state for each monitor. 3: with one for each shard of monitors, and an
entry for each window, where one is for many now. 4: with bytes for all entries. 5: with all of them in Spark's state.
"""

EARLIER_BASELINES: Final = 3
"""Of a monitor, besides its own: records scored by them may still come while a new one is rolled out."""

_FILE: Final = "tidegauge.json"
_OFFSETS: Final = "offsets"
"""Spark's, from the first micro-batch on."""

_BASELINES: Final = "baselines"


@dataclass(frozen=True)
class Checkpoint:
    """
    topics: ever read with it. Spark goes on with all of them, since it takes one that is left out for lost data.
    baselines: content ids by monitor, the latest first.
    """

    directory: Path
    topics: frozenset[str] = frozenset()
    baselines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path) -> Checkpoint:
        """Raises StartError where another program wrote it."""
        file = directory / _FILE
        if not file.exists():
            if (directory / _OFFSETS).exists():
                raise StartError(f"--checkpoint {directory}: {_of_format(1)}")
            return cls(directory)
        try:
            content = orjson.loads(file.read_bytes())
            form, topics, baselines = content["format"], content["topics"], content["baselines"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StartError(f"--checkpoint {directory}: {_FILE} cannot be read: {error!r}; {_ADVICE}") from error
        if form != FORMAT:
            raise StartError(f"--checkpoint {directory}: {_of_format(form)}")
        return cls(directory, frozenset(topics), {name: tuple(ids) for name, ids in baselines.items()})

    def begin(self, catalogue: Catalogue) -> tuple[Checkpoint, Catalogue]:
        """
        The checkpoint with this catalogue noted in it, on disk, and the catalogue with the baselines that its monitors
        had before. Raises OSError.
        """
        known = replace(
            self,
            topics=self.topics | set(catalogue.inference_topics()),
            baselines={name: self._history(name, current) for name, current in catalogue.baselines.items()},
        )
        known._save(catalogue)
        return known, catalogue.with_earlier(
            {name: ids[1:] for name, ids in known.baselines.items()},
            {
                content_id: data
                for ids in known.baselines.values()
                for content_id in ids
                if (data := self._load(content_id))
            },
        )

    def _history(self, monitor: str, current: str) -> tuple[str, ...]:
        before = [content_id for content_id in self.baselines.get(monitor, ()) if content_id != current]
        return (current, *before[:EARLIER_BASELINES])

    def _load(self, content_id: str) -> bytes | None:
        """None where it is gone or damaged: its records are refused then, as those of any unknown baseline."""
        try:
            data = (self.directory / _BASELINES / f"{content_id}.json").read_bytes()
            BaselineProfile.load(data)
        except (OSError, InvalidBaseline):
            return None
        return data

    def _save(self, catalogue: Catalogue) -> None:
        directory = self.directory / _BASELINES
        directory.mkdir(parents=True, exist_ok=True)
        for content_id, data in catalogue.profiles.items():
            _write(directory / f"{content_id}.json", data)
        content = {"format": FORMAT, "topics": sorted(self.topics), "baselines": self.baselines}
        _write(self.directory / _FILE, orjson.dumps(content))
        kept = {f"{content_id}.json" for ids in self.baselines.values() for content_id in ids}
        for file in directory.iterdir():
            if file.name not in kept:
                file.unlink()


_ADVICE: Final = (
    "start with an empty --checkpoint directory: what Kafka still has is read again, and reports replace their own"
)


def _of_format(form: object) -> str:
    return f"of format {form!r}, this program reads {FORMAT}: go on with the program that wrote it, or {_ADVICE}"


def _write(file: Path, data: bytes) -> None:
    """Whole or not at all."""
    unfinished = file.with_suffix(".new")
    unfinished.write_bytes(data)
    os.replace(unfinished, file)
