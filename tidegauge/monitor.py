"""
A ModelMonitor document (tidegauge.io/v1alpha1), as parsed from YAML or JSON, turned into frozen dataclasses.

Every rejection is an InvalidMonitor that names the field's path and what was expected; an unknown field is a rejection
too, since a typing error must not silently switch a setting off. Durations are written "15s", "10m", "30d".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from tidegauge.aggregator_spec import AggregatorSpec, parse_aggregator
from tidegauge.alerts_spec import AlertPolicy, parse_alerts
from tidegauge.capture_spec import Capture, parse_capture
from tidegauge.drift_spec import Drift, parse_drift
from tidegauge.errors import InvalidMonitor
from tidegauge.extensions import is_extension
from tidegauge.kafka_spec import Kafka, parse_kafka
from tidegauge.sections import Section
from tidegauge.statistics_spec import Statistics, parse_statistics
from tidegauge.transformer_spec import TransformerSpec, parse_transformer

API_VERSION: Final = "tidegauge.io/v1alpha1"

DETECTOR_NAMES: Final = ("tail", "mahalanobis", "isolation_forest")
"""Those that come with Tidegauge; a user's own is named "module:Class"."""
DEFAULT_DETECTORS: Final = ("tail", "mahalanobis")
POLICIES: Final = ("annotate", "shadow", "reject")
MAXIMUM_KEPT_WINDOWS: Final = 10_000
"""Closed windows that wait for late records: of some 10 kB to 1 MB each."""


_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True)
class ModelRef:
    name: str
    version: str = "1"
    """What records say where the predictor's response does not name a version."""


@dataclass(frozen=True)
class BaselineRef:
    """Where the profile's bytes are: exactly one of the three."""

    file: str | None = None
    """Path, relative to the monitor file."""
    config_map: str | None = None
    uri: str | None = None
    sha256: str | None = None
    """The profile's content id; with `uri` it is required and checked."""


@dataclass(frozen=True)
class Outliers:
    detectors: tuple[str, ...] = DEFAULT_DETECTORS
    false_alarm_rate: float = 0.001
    """Share of normal rows that may be flagged."""
    policy: str = "annotate"
    """annotate: headers say it. shadow: only records say it. reject: a request with an outlier is answered 422."""
    budget_ms: float = 5.0
    """Time that scoring may take before a request's answer; what is left over is scored after it."""


@dataclass(frozen=True)
class Windows:
    """Event-time windows [start, start + duration), aligned to the epoch. All in milliseconds."""

    duration_ms: int = 15_000
    slide_ms: int = 15_000
    watermark_ms: int = 6_000
    """How long after its end a window waits for records that were under way."""
    min_count: int = 100
    """Fewer values than this in a window: the drift tests say NotMeasured."""
    lateness_ms: int = 600_000
    """How long after its closing a window can still be corrected by what comes late."""
    provisional_ms: int = 5_000
    """How often a verdict on the window under way is worked out for live views; 0: never."""


@dataclass(frozen=True)
class ModelMonitor:
    name: str
    namespace: str
    inference_service: str
    model: ModelRef
    baseline: BaselineRef
    kafka: Kafka
    suspend: bool = False
    transformer: TransformerSpec = field(default_factory=TransformerSpec)
    aggregator: AggregatorSpec = field(default_factory=AggregatorSpec)
    capture: Capture = field(default_factory=Capture)
    outliers: Outliers = field(default_factory=Outliers)
    windows: Windows = field(default_factory=Windows)
    drift: Drift = field(default_factory=Drift)
    statistics: Statistics = field(default_factory=Statistics)
    alerts: AlertPolicy = field(default_factory=AlertPolicy)


def parse_monitor(document: object) -> ModelMonitor:
    """Raises InvalidMonitor for the first thing that is wrong."""
    root = Section("", document)
    root.only("apiVersion", "kind", "metadata", "spec", "status")
    root.equals("apiVersion", API_VERSION)
    root.equals("kind", "ModelMonitor")
    metadata = root.section("metadata")
    name = metadata.matching("name", _DNS_NAME, "lower-case letters, digits, '-' and '.'")
    spec = root.section("spec")
    spec.only(*_SPEC_FIELDS)
    return ModelMonitor(
        name=name,
        namespace=metadata.text("namespace", "default"),
        inference_service=spec.text("inferenceService", name),
        model=_model(spec.section("model")),
        baseline=_baseline(spec.section("baseline")),
        kafka=parse_kafka(spec.section("kafka")),
        suspend=spec.boolean("suspend", False),
        transformer=parse_transformer(spec.section("transformer", {})),
        aggregator=parse_aggregator(spec.section("aggregator", {})),
        capture=parse_capture(spec.section("capture", {})),
        outliers=_outliers(spec.section("outliers", {})),
        windows=_windows(spec.section("windows", {})),
        drift=parse_drift(spec.section("drift", {})),
        statistics=parse_statistics(spec.section("statistics", {})),
        alerts=parse_alerts(spec.section("alerts", {})),
    )


_SPEC_FIELDS: Final = (
    "inferenceService",
    "model",
    "baseline",
    "suspend",
    "kafka",
    "transformer",
    "aggregator",
    "capture",
    "outliers",
    "windows",
    "drift",
    "statistics",
    "alerts",
)


def _model(section: Section) -> ModelRef:
    section.only("name", "version")
    return ModelRef(section.text("name"), section.text("version", "1"))


def _baseline(section: Section) -> BaselineRef:
    section.only("file", "configMap", "uri", "sha256")
    named = [key for key in ("file", "configMap", "uri") if section.has(key)]
    if len(named) != 1:
        raise InvalidMonitor(section.path, "exactly one of file, configMap, uri", named or "none of them")
    if named == ["uri"] and not section.has("sha256"):
        raise InvalidMonitor(section.at("sha256"), "the profile's content id, beside uri", None)
    return BaselineRef(
        file=section.optional_text("file"),
        config_map=section.optional_text("configMap"),
        uri=section.optional_text("uri"),
        sha256=section.optional_text("sha256"),
    )


def _outliers(section: Section) -> Outliers:
    section.only("detectors", "falseAlarmRate", "policy", "budgetMs")
    return Outliers(
        detectors=section.names("detectors", DEFAULT_DETECTORS, DETECTOR_NAMES, is_extension, "module:Class"),
        false_alarm_rate=section.number("falseAlarmRate", 0.001, above=0.0, below=0.5),
        policy=section.choice("policy", POLICIES),
        budget_ms=section.number("budgetMs", 5.0, above=-1e-300, below=60_000.0),
    )


def _windows(section: Section) -> Windows:
    section.only("duration", "slide", "watermark", "lateness", "provisional", "minCount")
    default = Windows()
    duration = section.duration_ms("duration", default.duration_ms)
    windows = Windows(
        duration_ms=duration,
        slide_ms=section.duration_ms("slide", duration),
        watermark_ms=section.duration_ms("watermark", default.watermark_ms),
        lateness_ms=section.duration_ms("lateness", default.lateness_ms),
        provisional_ms=section.duration_ms("provisional", default.provisional_ms),
        min_count=section.integer("minCount", default.min_count, low=1),
    )
    for name, value in (("duration", duration), ("slide", windows.slide_ms)):
        # Heartbeats account for whole seconds, so only such windows can be proven complete.
        if value < 1000 or value % 1000:
            raise InvalidMonitor(section.at(name), "whole seconds, at least 1s", section.get(name))
    if windows.slide_ms > duration or duration % windows.slide_ms:
        raise InvalidMonitor(section.at("slide"), f"a divisor of the duration ({duration} ms)", section.get("slide"))
    if windows.lateness_ms > MAXIMUM_KEPT_WINDOWS * windows.slide_ms:
        expected = f"at most {MAXIMUM_KEPT_WINDOWS} times the slide ({windows.slide_ms} ms), as each window is kept"
        raise InvalidMonitor(section.at("lateness"), expected, section.get("lateness"))
    return windows
