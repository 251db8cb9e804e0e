"""Events as KServe's agent v0.20.0 sends them: header for header what it was seen to send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"


def agent_headers(
    identity: str, kind: str, *, time: datetime | None = None, metadata: Mapping[str, str] | None = None, **changes: str
) -> dict[str, str]:
    moment = (time or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"
    headers = {
        "User-Agent": "Go-http-client/1.1",
        "Ce-Component": "predictor",
        "Ce-Endpoint": "default",
        "Ce-Id": identity,
        "Ce-Inferenceservicename": "sums",
        "Ce-Metadata": json.dumps(
            {name: [value] for name, value in (metadata or {}).items()}, separators=(",", ":"), ensure_ascii=False
        ),
        "Ce-Namespace": "tests",
        "Ce-Recordedtime": moment,
        "Ce-Source": "http://localhost/",
        "Ce-Specversion": "1.0",
        "Ce-Time": moment,
        "Ce-Type": kind,
        "Content-Type": "application/json",
        "Accept-Encoding": "gzip",
    }
    return headers | {name.replace("_", "-"): value for name, value in changes.items()}


def structured(identity: str, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "http://localhost/",
        "type": kind,
        "datacontenttype": "application/json",
        "inferenceservicename": "sums",
        "namespace": "tests",
        "component": "predictor",
        "endpoint": "default",
        "time": datetime.now(UTC).isoformat(),
    } | changes
