"""Both containers of a predictor's pod, started with the arguments of the example, on one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from localsystem.dataset import load_shuttle
from tests.support.topics import record_of
from tests.support.waiting import wait_until
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec

EXAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "examples"
ROW = [50.0, 0.0, 80.0, 0.0, 40.0, 0.0, 30.0, 40.0, 10.0]


def test_the_pod_of_the_example_serves_and_is_ready_when_its_predictor_is(
    tmp_path: Path, shared_broker: str, start_program: Callable[..., Any], free_port: Callable[[], int]
) -> None:
    pod = yaml.safe_load((EXAMPLES / "inferenceservice-collocated.yaml").read_text())["spec"]["predictor"]
    mount_monitor(tmp_path, shared_broker)
    predictor_port = free_port()
    given = [
        argument.replace("/etc/tidegauge", str(tmp_path)).replace("localhost:8085", f"localhost:{predictor_port}")
        for argument in pod["containers"][0]["args"]
    ]
    transformer = start_program("transformer", *given, ready="transformer serving")

    def ready() -> bool:
        return httpx.get(transformer.url + "/v2/health/ready", timeout=20).status_code == 200

    assert not ready(), "its predictor is not there yet"
    # KServe appends the model's arguments to the runtime's.
    runtime = ("--model_name=shuttle", "--http_port=8080", *pod["model"]["args"])
    start_program("localsystem.predictor", *runtime, ready="Uvicorn running", port=predictor_port)
    wait_until(ready, within_s=20, what="the predictor is found ready")
    response = httpx.post(
        transformer.url + "/v1/models/shuttle:predict",
        json={"instances": [ROW]},
        headers={"x-request-id": "collocated"},
        timeout=20,
    )
    assert response.status_code == 200 and response.headers["x-outlier"] in ("0", "1")
    assert record_of(shared_broker, "tidegauge.inference", "collocated").features == [ROW]
    assert transformer.stop() == 0


def mount_monitor(directory: Path, broker: str) -> None:
    """What the ConfigMap holds, but for the broker's address."""
    document = yaml.safe_load((EXAMPLES / "modelmonitor.yaml").read_text())
    document["spec"]["kafka"]["bootstrapServers"] = broker
    (directory / "modelmonitor.yaml").write_text(yaml.safe_dump(document))
    data = load_shuttle()
    schema = FeatureSchema(tuple(FeatureSpec(name) for name in data.names))
    profile = BaselineProfile.fit(data.rows[:4000], schema, outlier=data.anomaly[:4000])
    (directory / document["spec"]["baseline"]["file"]).write_bytes(profile.dump())
