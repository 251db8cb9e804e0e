"""The example manifests against the code that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec
from tidegauge.monitor import ModelMonitor, parse_monitor
from transformer.collector import settings as collector_settings
from transformer.settings import GRACE_S, read_settings

EXAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "examples"

MOUNTED = "/etc/tidegauge"


@pytest.fixture
def transformer() -> Any:
    return yaml.safe_load((EXAMPLES / "inferenceservice.yaml").read_text())["spec"]["transformer"]


@pytest.fixture
def container(transformer: Any) -> Any:
    return transformer["containers"][0]


@pytest.fixture
def monitor() -> ModelMonitor:
    return parse_monitor(yaml.safe_load((EXAMPLES / "modelmonitor.yaml").read_text()))


@pytest.fixture
def mounted(tmp_path: Path, monitor: ModelMonitor) -> Path:
    """A directory with what the ConfigMap holds."""
    (tmp_path / "modelmonitor.yaml").write_bytes((EXAMPLES / "modelmonitor.yaml").read_bytes())
    schema = FeatureSchema((FeatureSpec("a"), FeatureSpec("b")))
    profile = BaselineProfile.fit(np.random.default_rng(1).normal(size=(500, 2)), schema)
    assert monitor.baseline.file is not None
    (tmp_path / monitor.baseline.file).write_bytes(profile.dump())
    return tmp_path


def test_the_container_has_the_name_that_kserve_gives_it(transformer: Any, container: Any) -> None:
    assert container["name"] == "kserve-container"
    assert len(transformer["containers"]) == 1


def test_the_arguments_start_the_transformer_with_what_the_controller_appends(container: Any, mounted: Path) -> None:
    given = [argument.replace(MOUNTED, str(mounted)) for argument in container["args"]]
    appended = ["--predictor_host", "shuttle-predictor.default", "--http_port", "8080"]
    settings = read_settings([*given, *appended])
    assert (settings.model_name, settings.workers, settings.predictor_protocol) == ("shuttle", 1, "v2")
    assert settings.http_port == container["ports"][0]["containerPort"]


def test_the_model_is_the_one_that_the_monitor_names(container: Any, monitor: ModelMonitor) -> None:
    assert f"--model_name={monitor.model.name}" in container["args"]


def test_the_monitor_is_read_from_where_the_config_map_is_mounted(transformer: Any, container: Any) -> None:
    mount, volume = container["volumeMounts"][0], transformer["volumes"][0]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], MOUNTED)
    assert f"--monitor={MOUNTED}/modelmonitor.yaml" in container["args"]
    assert volume["configMap"]["name"] in (EXAMPLES / "modelmonitor.yaml").read_text()


def test_the_pod_lives_longer_than_the_transformer_needs_to_stop(transformer: Any) -> None:
    assert transformer["terminationGracePeriodSeconds"] > GRACE_S


@pytest.fixture
def collocated() -> Any:
    return yaml.safe_load((EXAMPLES / "inferenceservice-collocated.yaml").read_text())["spec"]["predictor"]


def test_a_collocated_container_has_every_argument_that_the_controller_gives_a_separate_one(
    collocated: Any, mounted: Path, monitor: ModelMonitor
) -> None:
    (container,) = collocated["containers"]
    assert container["name"] == "transformer-container"
    settings = read_settings([argument.replace(MOUNTED, str(mounted)) for argument in container["args"]])
    assert (settings.model_name, settings.predictor_protocol) == (monitor.model.name, "v2")
    assert [port["containerPort"] for port in container["ports"]] == [settings.http_port]
    assert settings.predictor_health_check
    model = collocated["model"]
    assert f"--http_port={settings.predictor_port}" in model["args"]
    assert model["readinessProbe"]["httpGet"]["port"] == settings.predictor_port != settings.http_port
    assert "ports" not in model, "Knative allows them for one container"


def test_a_collocated_container_is_otherwise_the_separate_one(collocated: Any, transformer: Any) -> None:
    ours, separate = collocated["containers"][0], transformer["containers"][0]
    own = {"name", "args", "lifecycle"}
    assert {key: value for key, value in ours.items() if key not in own} == {
        key: value for key, value in separate.items() if key not in own
    }
    assert set(separate["args"]) <= set(ours["args"])
    assert collocated["volumes"] == transformer["volumes"]
    first, last = (part["lifecycle"]["preStop"]["sleep"]["seconds"] for part in (ours, collocated["model"]))
    assert first < last and first + GRACE_S <= collocated["terminationGracePeriodSeconds"]


@pytest.fixture
def collector() -> dict[str, Any]:
    """By kind."""
    documents = yaml.safe_load_all((EXAMPLES / "collector.yaml").read_text())
    return {document["kind"]: document for document in documents}


def test_the_collectors_arguments_start_it(collector: dict[str, Any], mounted: Path, monitor: ModelMonitor) -> None:
    pod = collector["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["command"] == ["python", "-m", "transformer.collector"]
    settings = collector_settings.read_settings([arg.replace(MOUNTED, str(mounted)) for arg in container["args"]])
    assert settings.http_port == container["ports"][0]["containerPort"]
    assert settings.monitor == monitor
    assert pod["terminationGracePeriodSeconds"] > GRACE_S
    assert pod["volumes"][0]["configMap"]["name"] in (EXAMPLES / "modelmonitor.yaml").read_text()


def test_the_logger_sends_the_monitors_events_to_the_collectors_service(
    collector: dict[str, Any], monitor: ModelMonitor
) -> None:
    metadata, service = collector["InferenceService"]["metadata"], collector["Service"]
    assert (metadata["name"], metadata["namespace"]) == (monitor.inference_service, monitor.namespace)
    logger = collector["InferenceService"]["spec"]["predictor"]["logger"]
    named = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
    assert (logger["mode"], logger["url"]) == ("all", f"http://{named}/")
    assert all(header == "-".join(map(str.capitalize, header.split("-"))) for header in logger["metadataHeaders"])
    labels = collector["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    assert service["spec"]["sessionAffinity"] == "ClientIP"
