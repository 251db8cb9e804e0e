"""`--since` and `--until`, and the monitor and profile that say what the topic's records hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import InvalidBaseline, InvalidMonitor
from tidegauge.monitor import ModelMonitor, parse_monitor

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment_ms(text: str, *, option: str, now: datetime) -> int:
    """
    "2h" ago, or a time such as 2026-03-01T08:00 (UTC where it does not say otherwise), as UTC epoch milliseconds.
    Raises InvalidBaseline naming the option.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return round((now.timestamp() - float(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidBaseline(
            f"{option} {text}: expected 90s, 15m, 2h, 7d, or a time such as 2026-03-01T08:00"
        ) from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def read_monitor(path: Path) -> ModelMonitor:
    """Raises InvalidBaseline naming the file."""
    try:
        return parse_monitor(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidBaseline(f"monitor file {path}: not YAML: {' '.join(str(error).split())}") from error
    except InvalidMonitor as error:
        raise InvalidBaseline(f"monitor file {path}: {error}") from error


def profile_like(like: Path | None, monitor_path: Path, monitor: ModelMonitor) -> BaselineProfile:
    """The profile `like`, else the one that the monitor names. Raises InvalidBaseline naming the file."""
    if like is None:
        if monitor.baseline.file is None:
            raise InvalidBaseline(f"monitor file {monitor_path} names no baseline file: give the profile with --like")
        like = monitor_path.parent / monitor.baseline.file
    try:
        return BaselineProfile.load(like.read_bytes())
    except InvalidBaseline as error:
        raise InvalidBaseline(f"{like}: {error}") from error
