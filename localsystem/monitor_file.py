"""The ModelMonitor file of a local system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from tidegauge.monitor import ModelMonitor, parse_monitor


@dataclass(frozen=True)
class MonitorSettings:
    """What a local run chooses. Durations in whole seconds."""

    bootstrap_servers: str
    baseline: str
    """The profile's file name, beside the monitor file."""
    name: str = "shuttle"
    window_s: int = 5
    watermark_s: int = 2
    min_count: int = 100


def write_monitor(path: Path, settings: MonitorSettings) -> ModelMonitor:
    """Writes it and gives what any reader of the file gets."""
    document = {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": settings.name, "namespace": "default"},
        "spec": {
            "inferenceService": settings.name,
            "model": {"name": settings.name, "version": "1"},
            "baseline": {"file": settings.baseline},
            "kafka": {
                "bootstrapServers": settings.bootstrap_servers,
                "topics": {"inference": {"name": "tidegauge.inference", "partitions": 4, "replication": 1}},
            },
            "aggregator": {"store": "sqlite:///tidegauge.db"},
            "outliers": {"detectors": ["tail", "mahalanobis"], "falseAlarmRate": 0.001},
            "windows": {
                "duration": f"{settings.window_s}s",
                "slide": f"{settings.window_s}s",
                "watermark": f"{settings.watermark_s}s",
                "minCount": settings.min_count,
            },
            "drift": {"falseAlarms": "1 per 30d"},
        },
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return parse_monitor(document)
