"""What judging one window costs in processor time, with the memory of those before, and what is kept of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import numpy as np

from tests.support.examples import make_record, monitor_document, numeric_schema
from tidegauge.baseline import BaselineProfile
from tidegauge.memory import MonitorMemory, remember
from tidegauge.monitor import parse_monitor
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
    profile = BaselineProfile.fit(rng.normal(size=(ROWS, features)), numeric_schema(features))
    monitor = parse_monitor(monitor_document())
    rows = rng.normal(size=(ROWS, features)).tolist()
    whole = summarise([make_record(rows=ROWS, features=rows, outlier=[False] * ROWS)], [], profile)
    shares = [reference.counts / reference.counts.sum() for reference in profile.references]
    memory, judged, remembered = MonitorMemory(), [], []
    for number in range(WINDOWS):
        # As in traffic, no two windows have the same number of rows: a null of one is not the null of the next.
        served = int(rng.integers(ROWS * 9 // 10, ROWS))
        counts = np.concatenate([rng.multinomial(served, share) for share in shares])
        summary = replace(whole, bins=replace(whole.bins, counts=counts))
        window = Window(15_000 * number, 15_000 * number + 15_000)
        began = time.process_time()
        report = judge(monitor=monitor, profile=profile, version="1", window=window, summary=summary, memory=memory)
        between = time.process_time()
        memory = remember(memory, report)
        judged.append(between - began)
        remembered.append(time.process_time() - between)
    sizes = len(whole.encode()), len(memory.encode())
    return 1000 * float(np.median(judged)), 1000 * float(np.median(remembered)), *sizes
