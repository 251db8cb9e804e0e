"""The monitor file, and the baseline that it names, proven to fit each other."""

from __future__ import annotations

from pathlib import Path

import yaml

from tidegauge.baseline import BaselineProfile
from tidegauge.errors import TidegaugeError
from tidegauge.monitor import ModelMonitor, parse_monitor
from tidegauge.scoring.detector import load_detectors
from tidegauge.scoring.scorer import Scorer
from transformer.arguments import InvalidSettings
from transformer.captured import rules


def read_monitor(path: Path) -> ModelMonitor:
    """Raises InvalidSettings."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InvalidSettings(f"--monitor {path}: {error.strerror}: give the path of a ModelMonitor file") from error
    except yaml.YAMLError as error:
        raise InvalidSettings(f"--monitor {path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return parse_monitor(document)
    except TidegaugeError as error:
        raise InvalidSettings(f"--monitor {path}: {error}") from error


def read_profile(monitor_path: Path, monitor: ModelMonitor) -> BaselineProfile:
    """The baseline, proven to fit the monitor's detectors and rate. Raises InvalidSettings."""
    if monitor.baseline.file is None:
        raise InvalidSettings(
            f"--monitor {monitor_path}: spec.baseline.file is needed here: mount the profile and name its path"
        )
    path = monitor_path.parent / monitor.baseline.file
    try:
        own = load_detectors(monitor.outliers.detectors)
    except TidegaugeError as error:
        raise InvalidSettings(f"--monitor {monitor_path}: spec.outliers.detectors: {error}") from error
    try:
        profile = BaselineProfile.load(path.read_bytes(), detectors=own)
        Scorer(profile, detectors=monitor.outliers.detectors, false_alarm_rate=monitor.outliers.false_alarm_rate)
    except OSError as error:
        raise InvalidSettings(
            f"baseline {path}: {error.strerror}: fit one with `tidegauge baseline fit DATA -o {path.name}`"
        ) from error
    except TidegaugeError as error:
        raise InvalidSettings(f"baseline {path}: {error}") from error
    if monitor.baseline.sha256 not in (None, profile.content_id):
        raise InvalidSettings(
            f"baseline {path}: its content id is {profile.content_id}, the monitor's spec.baseline.sha256 is "
            f"{monitor.baseline.sha256}: update one of them"
        )
    try:
        rules(monitor.capture, profile)
    except InvalidSettings as error:
        raise InvalidSettings(f"--monitor {monitor_path}: {error}") from error
    return profile
