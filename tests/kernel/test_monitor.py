"""The monitor document: what is accepted and its defaults; every rejection names the field and what was expected."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import monitor_document
from tidegauge.aggregator_spec import AggregatorSpec
from tidegauge.drift import DRIFT_TESTS
from tidegauge.drift_spec import DECISIVE_TESTS, Drift, FalseAlarmBudget
from tidegauge.errors import InvalidMonitor, TidegaugeError
from tidegauge.kafka_spec import Kafka, Topic, Topics
from tidegauge.monitor import DETECTOR_NAMES, BaselineRef, ModelMonitor, ModelRef, Outliers, Windows, parse_monitor
from tidegauge.scoring import DETECTORS
from tidegauge.sections import duration_ms
from tidegauge.transformer_spec import TransformerSpec

THE_DEMOS_MONITOR = """
apiVersion: tidegauge.io/v1alpha1
kind: ModelMonitor
metadata: {name: shuttle, namespace: default}
spec:
  inferenceService: shuttle
  model: {name: shuttle, version: "1"}
  baseline: {file: shuttle-baseline.json}
  suspend: false
  kafka:
    bootstrapServers: "127.0.0.1:9092"
    topics: {inference: {name: tidegauge.inference, partitions: 4, replication: 1}}
  transformer: {workers: 1}
  aggregator: {store: "sqlite:///tidegauge.db"}
  outliers: {detectors: [tail, mahalanobis], falseAlarmRate: 0.001, policy: annotate}
  windows: {duration: 5s, slide: 5s, watermark: 2s, minCount: 100}
  drift: {falseAlarms: "1 per 30d"}
"""


def with_field(path: str, value: object) -> dict[str, Any]:
    document = deepcopy(monitor_document())
    *sections, last = path.split(".")
    section = document
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    return document


def test_the_demos_monitor_is_understood() -> None:
    assert parse_monitor(yaml.safe_load(THE_DEMOS_MONITOR)) == ModelMonitor(
        name="shuttle",
        namespace="default",
        inference_service="shuttle",
        model=ModelRef("shuttle", "1"),
        baseline=BaselineRef(file="shuttle-baseline.json"),
        kafka=Kafka("127.0.0.1:9092", Topics()),
        suspend=False,
        transformer=TransformerSpec(workers=1),
        aggregator=AggregatorSpec(store="sqlite:///tidegauge.db"),
        outliers=Outliers(("tail", "mahalanobis"), 0.001),
        windows=Windows(5000, 5000, 2000, 100),
        drift=Drift(FalseAlarmBudget(1.0, 30 * 86_400.0)),
    )


def test_the_defaults_are_these() -> None:
    assert parse_monitor(monitor_document()) == ModelMonitor(
        name="doors",
        namespace="default",
        inference_service="doors",
        model=ModelRef("doors", "1"),
        baseline=BaselineRef(file="doors.json"),
        kafka=Kafka(
            "127.0.0.1:9092",
            Topics(
                inference=Topic("tidegauge.inference", 4, 1),
                outliers=Topic("tidegauge.outliers", 1, 1),
                statistics=Topic("tidegauge.statistics", 1, 1),
                drift=Topic("tidegauge.drift", 1, 1),
                alerts=Topic("tidegauge.alerts", 1, 1),
                dead_letter=Topic("tidegauge.dead-letter", 1, 1),
            ),
        ),
        suspend=False,
        transformer=TransformerSpec(workers=1),
        aggregator=AggregatorSpec(store="sqlite:///tidegauge.db"),
        outliers=Outliers(detectors=("tail", "mahalanobis"), false_alarm_rate=0.001),
        windows=Windows(duration_ms=15_000, slide_ms=15_000, watermark_ms=6_000, min_count=100),
        drift=Drift(FalseAlarmBudget(1.0, 2_592_000.0), {"jensen_shannon": 0.002, "location": 0.1}),
    )


def test_the_monitors_names_are_those_of_the_tables() -> None:
    assert tuple(DETECTORS) == DETECTOR_NAMES
    assert tuple(DRIFT_TESTS) == DECISIVE_TESTS


DETECTOR_LIST = "a list of tail, mahalanobis, isolation_forest, module:Class"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("apiVersion", "v1", "tidegauge.io/v1alpha1"),
        ("apiVersion", None, "tidegauge.io/v1alpha1"),
        ("kind", "Monitor", "ModelMonitor"),
        ("surplus", 1, "no such field here"),
        ("metadata", None, "a mapping"),
        ("metadata.name", None, "lower-case letters"),
        ("metadata.name", "Doors!", "lower-case letters"),
        ("metadata.namespace", 3, "text"),
        ("spec", [], "a mapping"),
        ("spec.driftt", {}, "no such field here; known: inferenceService"),
        ("spec.inferenceService", 1, "text"),
        ("spec.model", None, "a mapping"),
        ("spec.model.name", None, "text"),
        ("spec.model.name", "", "text"),
        ("spec.model.version", 1, "text"),
        ("spec.model.framework", "sklearn", "no such field here"),
        ("spec.baseline", None, "a mapping"),
        ("spec.baseline", {}, "exactly one of file, configMap, uri"),
        ("spec.baseline.configMap", "doors", "exactly one of file, configMap, uri"),
        ("spec.baseline.path", "doors", "no such field here"),
        ("spec.suspend", "yes", "true or false"),
        ("spec.kafka", None, "a mapping"),
        ("spec.kafka.bootstrapServers", None, "text"),
        ("spec.kafka.topics.inferences", {}, "no such field here"),
        ("spec.kafka.topics.inference.name", "a topic", "a Kafka topic name"),
        ("spec.kafka.topics.inference.partitions", 0, "a whole number, at least 1"),
        ("spec.kafka.topics.inference.replication", 1.5, "a whole number, at least 1"),
        ("spec.kafka.topics.inference.retention", "1d", "no such field here"),
        ("spec.transformer.workers", True, "a whole number, at least 1"),
        ("spec.transformer.mode", "separate", "no such field here"),
        ("spec.aggregator.store", 5, "text"),
        ("spec.aggregator.executors", 2, "no such field here"),
        ("spec.outliers.detectors", "tail", DETECTOR_LIST),
        ("spec.outliers.detectors", [], DETECTOR_LIST),
        ("spec.outliers.detectors", ["tail", "tail"], DETECTOR_LIST),
        ("spec.outliers.detectors", ["forest"], DETECTOR_LIST),
        ("spec.outliers.detectors", [{"name": "tail"}], DETECTOR_LIST),
        ("spec.outliers.falseAlarmRate", 0, "a number between 0 and 0.5"),
        ("spec.outliers.falseAlarmRate", 0.5, "a number between 0 and 0.5"),
        ("spec.outliers.falseAlarmRate", float("nan"), "a number between 0 and 0.5"),
        ("spec.outliers.falseAlarmRate", "1%", "a number between 0 and 0.5"),
        ("spec.outliers.falseAlarmRate", False, "a number between 0 and 0.5"),
        ("spec.outliers.detectors", ["own.module:"], DETECTOR_LIST),
        (
            "spec.outliers.detectors",
            ["own module:Class"],
            DETECTOR_LIST,
        ),
        ("spec.outliers.policy", "block", "one of annotate, shadow, reject"),
        ("spec.outliers.policy", ["reject"], "one of annotate, shadow, reject"),
        ("spec.outliers.budgetMs", -1, "a number between 0 and 60000"),
        ("spec.outliers.budgetMs", "5ms", "a number between 0 and 60000"),
        ("spec.windows.duration", 15, 'a duration such as "15s" or "10m"'),
        ("spec.windows.duration", "15", 'a duration such as "15s" or "10m"'),
        ("spec.windows.duration", "a while", 'a duration such as "15s" or "10m"'),
        ("spec.windows.duration", "-5s", 'a duration such as "15s" or "10m"'),
        ("spec.windows.duration", "9" * 400 + "d", 'a duration such as "15s" or "10m"'),
        ("spec.windows.duration", "1500ms", "whole seconds, at least 1s"),
        ("spec.windows.duration", "0s", "whole seconds, at least 1s"),
        ("spec.windows.slide", "4s", "a divisor of the duration"),
        ("spec.windows.slide", "30s", "a divisor of the duration"),
        ("spec.windows.slide", "500ms", "whole seconds, at least 1s"),
        ("spec.windows.watermark", "soon", 'a duration such as "15s" or "10m"'),
        ("spec.windows.minCount", 0, "a whole number, at least 1"),
        ("spec.windows.lateness", "late", 'a duration such as "15s" or "10m"'),
        ("spec.windows.lateness", "30d", "at most 10000 times the slide (15000 ms)"),
        ("spec.drift.falseAlarms", 1, '"N per DURATION", such as "1 per 30d"'),
        ("spec.drift.falseAlarms", "seldom", '"N per DURATION", such as "1 per 30d"'),
        ("spec.drift.falseAlarms", "0 per 30d", '"N per DURATION", such as "1 per 30d"'),
        ("spec.drift.falseAlarms", "-1 per 30d", '"N per DURATION", such as "1 per 30d"'),
        ("spec.drift.falseAlarms", "nan per 30d", '"N per DURATION", such as "1 per 30d"'),
        ("spec.drift.falseAlarms", "1 per 0s", '"N per DURATION", such as "1 per 30d"'),
        ("spec.drift.minimumEffect.location", -0.1, "a number between 0 and 1e+06"),
        ("spec.drift.minimumEffect.psi", 0.2, "no such field here; known: jensen_shannon, location"),
        ("spec.drift.thresholds.vibes", 1, "no such field here"),
        ("spec.drift.thresholds.psi", 0, "a number between 0 and inf"),
        ("spec.drift.own.decide", "plant.drift:wear", "a list of module:function, each once"),
        ("spec.drift.own.decide", ["wear"], "a list of module:function, each once"),
        ("spec.drift.own.report", ["plant.drift:wear"] * 2, "a list of module:function, each once"),
        ("spec.drift.own.keep", [], "no such field here"),
        ("spec.statistics.own", [5], "a list of module:Class, each once"),
        ("spec.alerts.hooks", [], "no such field here"),
        ("spec.alerts.consecutiveWindows", 0, "a whole number, at least 1"),
        ("spec.alerts.reopenWithin", "soon", "a duration"),
        ("spec.alerts.minimumCompleteness", 2, "a number between 0 and 1"),
    ],
)
def test_a_rejection_names_the_field_and_what_was_expected(path: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidMonitor) as caught:
        parse_monitor(with_field(path, value))
    named = "spec.baseline" if path == "spec.baseline.configMap" else path
    assert caught.value.path == named
    assert str(caught.value).startswith(f"{named}: expected {expected}")


def test_a_baseline_by_address_needs_its_content_id() -> None:
    with pytest.raises(InvalidMonitor, match=r"spec.baseline.sha256: expected the profile's content id"):
        parse_monitor(with_field("spec.baseline", {"uri": "https://models.example/doors.json"}))


def test_two_topics_with_one_name_are_refused() -> None:
    with pytest.raises(InvalidMonitor, match=r"spec.kafka.topics: expected topics with different names"):
        parse_monitor(with_field("spec.kafka.topics.drift.name", "tidegauge.inference"))


@pytest.mark.parametrize("document", [None, "text", [], 5], ids=repr)
def test_a_document_that_is_no_mapping_is_refused_as_such(document: object) -> None:
    with pytest.raises(InvalidMonitor, match=r"^document: expected a mapping, got "):
        parse_monitor(document)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidMonitor) as caught:
        parse_monitor(with_field("spec.windows.duration", "x" * 10_000))
    assert len(str(caught.value)) < 200
    assert caught.value.given == "x" * 10_000


def test_a_test_either_decides_or_reports() -> None:
    both = {"decide": ["plant.drift:wear"], "report": ["plant.drift:wear"]}
    with pytest.raises(InvalidMonitor, match=r"spec.drift.own: expected each test in one of decide and report"):
        parse_monitor(with_field("spec.drift.own", both))


def test_a_null_section_is_an_absent_one() -> None:
    assert parse_monitor(with_field("spec.windows", None)) == parse_monitor(monitor_document())


def test_the_slide_is_the_duration_unless_it_is_said() -> None:
    assert parse_monitor(with_field("spec.windows", {"duration": "1m"})).windows.slide_ms == 60_000


def test_a_minimum_effect_of_zero_is_allowed() -> None:
    assert parse_monitor(with_field("spec.drift.minimumEffect.location", 0)).drift.minimum_effect["location"] == 0.0


def test_what_the_controller_writes_is_ignored() -> None:
    document = monitor_document() | {"status": {"phase": "Ready"}}
    document["metadata"] |= {"labels": {"a": "b"}, "uid": "17"}
    assert parse_monitor(document) == parse_monitor(monitor_document())


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("15s", 15_000), ("1.5 m", 90_000), ("2h", 7_200_000), ("30d", 2_592_000_000), ("0s", 0)],
)
def test_durations_are_milliseconds(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@given(
    path=st.sampled_from(["metadata", "spec", "spec.windows", "spec.kafka.topics", "spec.outliers.detectors"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
        ),
    ),
)
def test_no_document_raises_anything_else(path: str, value: object) -> None:
    try:
        parse_monitor(with_field(path, value))
    except InvalidMonitor as error:
        assert isinstance(error, TidegaugeError)
        assert error.path
