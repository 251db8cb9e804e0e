"""The monitor's section `transformer`: its processes, and where records wait on disk for Kafka."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tidegauge.errors import InvalidMonitor
from tidegauge.sections import Section

SMALLEST_SPOOL_BYTES: Final = 16 << 20

_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS.update({"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40})
_ABSOLUTE: Final = re.compile(r"/.*")


@dataclass(frozen=True)
class Spool:
    directory: str
    """One for each replica: its workers share it, and nobody else."""
    max_bytes: int = 1 << 30
    """Of all workers of a replica together."""


@dataclass(frozen=True)
class TransformerSpec:
    workers: int = 1
    spool: Spool | None = None
    """None: what does not fit into memory while Kafka is away is dropped and counted."""


def parse_transformer(section: Section) -> TransformerSpec:
    section.only("workers", "spool")
    workers = section.integer("workers", 1, low=1)
    return TransformerSpec(workers, _spool(section.section("spool"), workers) if section.has("spool") else None)


def _spool(section: Section, workers: int) -> Spool:
    section.only("directory", "maxBytes")
    spool = Spool(
        directory=section.matching("directory", _ABSOLUTE, "an absolute path"),
        max_bytes=section.converted("maxBytes", quantity, 'bytes, such as "512Mi" or "2G"', str(Spool.max_bytes)),
    )
    if spool.max_bytes < SMALLEST_SPOOL_BYTES * workers:
        expected = f"at least {SMALLEST_SPOOL_BYTES >> 20}Mi for each worker"
        raise InvalidMonitor(section.at("maxBytes"), expected, section.get("maxBytes"))
    return spool


def quantity(value: object) -> int:
    """Whole units of a Kubernetes quantity ("512Mi", "1.5G", 1000000). Raises ValueError."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)([kMGT]|[KMGT]i)?", "" if isinstance(value, bool) else str(value))
    if not match:
        raise ValueError(value)
    return int(float(match[1]) * _UNITS[match[2] or ""]) if "." in match[1] else int(match[1]) * _UNITS[match[2] or ""]
