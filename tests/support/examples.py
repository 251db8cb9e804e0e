"""Small values of the kernel's types; a test changes what it is about."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec, Matrix
from tidegauge.records import Account, Heartbeat, InferenceRecord

SCHEMA = FeatureSchema(
    (
        FeatureSpec("height"),
        FeatureSpec("colour", "categorical", ("blue", "green", "red")),
        FeatureSpec("open", "boolean"),
    )
)


def numeric_schema(features: int) -> FeatureSchema:
    return FeatureSchema(tuple(FeatureSpec(f"f{position}") for position in range(features)))


def mixed_rows(rows: int, *, seed: int = 1) -> Matrix:
    """Rows of SCHEMA: a normal height around 170 with 2 % missing, a colour, an often closed door."""
    rng = np.random.default_rng(seed)
    matrix = np.column_stack(
        [rng.normal(170.0, 10.0, rows), rng.choice(3, rows, p=[0.6, 0.3, 0.1]), rng.random(rows) < 0.2]
    ).astype(np.float64)
    matrix[rng.random(rows) < 0.02, 0] = np.nan
    return matrix


@functools.cache
def mixed_profile() -> BaselineProfile:
    return BaselineProfile.fit(mixed_rows(1000), SCHEMA)


def make_record(**changes: Any) -> InferenceRecord:
    fields: dict[str, Any] = {
        "id": "6b1f",
        "time_ms": 1_700_000_001_250,
        "monitor": "doors",
        "model": "doors",
        "version": "1",
        "namespace": "default",
        "replica": "pod-a",
        "incarnation": "i-1",
        "seq": 1,
        "protocol": "v2",
        "status": 200,
        "latency_ms": 3.5,
        "upstream_ms": 2.25,
        "rows": 1,
        "baseline": "b" * 64,
        "features": [[171.5, "red", False]],
        "outlier": [False],
    }
    return InferenceRecord(**(fields | changes))


def make_heartbeat(**changes: Any) -> Heartbeat:
    fields: dict[str, Any] = {
        "time_ms": 1_700_000_005_000,
        "monitor": "doors",
        "model": "doors",
        "version": "1",
        "namespace": "default",
        "replica": "pod-a",
        "incarnation": "i-1",
        "seq": 1,
        "baseline": "b" * 64,
        "account": Account(),
    }
    return Heartbeat(**(fields | changes))


def monitor_document(**spec: Any) -> dict[str, Any]:
    """The smallest monitor, and `spec` on top of its spec."""
    return {
        "apiVersion": "tidegauge.io/v1alpha1",
        "kind": "ModelMonitor",
        "metadata": {"name": "doors"},
        "spec": {
            "model": {"name": "doors"},
            "baseline": {"file": "doors.json"},
            "kafka": {"bootstrapServers": "127.0.0.1:9092"},
        }
        | spec,
    }
