"""What judging one window costs in processor time, and what is kept of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.memory import MonitorMemory, remember
from tidegauge.monitor import parse_monitor
from tidegauge.records import InferenceRecord
from tidegauge.summaries.window_summary import summarise
from tidegauge.verdict import judge
from tidegauge.windows import Window

ROWS: Final = 5000
WINDOWS: Final = 30


def measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    for features in (30, 300):
        judged_ms, remembered_ms, summary_bytes, memory_bytes = _of(features)
        figures |= {
            f"judge_{features}_ms": round(judged_ms, 3),
            f"remember_{features}_ms": round(remembered_ms, 3),
            f"summary_bytes_per_feature_{features}": round(summary_bytes / features),
            f"memory_bytes_per_feature_{features}": round(memory_bytes / features),
        }
    return figures


def _of(features: int) -> tuple[float, float, int, int]:
    rng = np.random.default_rng(1)
    schema = FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(features)))
    profile = BaselineProfile.fit(rng.normal(size=(ROWS, features)), schema)
    monitor = parse_monitor(
        {
            "apiVersion": "tidegauge.io/v1alpha1",
            "kind": "ModelMonitor",
            "metadata": {"name": "cost"},
            "spec": {
                "model": {"name": "cost"},
                "baseline": {"file": "cost.json"},
                "kafka": {"bootstrapServers": "127.0.0.1:9092"},
            },
        }
    )
    whole = summarise([_record(rng.normal(size=(ROWS, features)))], [], profile)
    shares = [reference.counts / reference.counts.sum() for reference in profile.references]
    memory, judged, remembered = MonitorMemory(), [], []
    for number in range(WINDOWS):
        counts = np.concatenate([rng.multinomial(ROWS, share) for share in shares])
        summary = replace(whole, bins=replace(whole.bins, counts=counts))
        window = Window(15_000 * number, 15_000 * number + 15_000)
        began = time.process_time()
        report = judge(monitor=monitor, profile=profile, version="1", window=window, summary=summary, memory=memory)
        between = time.process_time()
        memory = remember(memory, profile=profile, summary=summary, report=report)
        judged.append(between - began)
        remembered.append(time.process_time() - between)
    sizes = len(whole.encode()), len(memory.encode())
    return 1000 * float(np.median(judged)), 1000 * float(np.median(remembered)), *sizes


def _record(rows: np.ndarray) -> InferenceRecord:
    return InferenceRecord(
        id="1",
        time_ms=0,
        monitor="cost",
        model="cost",
        version="1",
        namespace="default",
        replica="r",
        incarnation="i",
        seq=1,
        protocol="v2",
        status=200,
        latency_ms=1.0,
        upstream_ms=1.0,
        rows=len(rows),
        baseline="b" * 64,
        features=rows.tolist(),
        outlier=[False] * len(rows),
    )
