"""Every version ever published can still be read, and says the same. A golden file is never changed, only added."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml

from tests.support.examples import make_record, monitor_document
from tests.support.schemas import DATA, validate
from tidegauge.aggregator_spec import AggregatorSpec
from tidegauge.alerts_spec import AlertPolicy
from tidegauge.baseline import BaselineProfile
from tidegauge.capture_spec import Capture, Redaction
from tidegauge.drift_spec import Drift, FalseAlarmBudget, OwnTests
from tidegauge.errors import InvalidBaseline, InvalidSummary
from tidegauge.features import FeatureSchema, FeatureSpec, coerce_rows
from tidegauge.kafka_spec import Kafka, Login, Security, Topic, Topics
from tidegauge.monitor import (
    BaselineRef,
    ModelMonitor,
    ModelRef,
    Outliers,
    Windows,
    parse_monitor,
)
from tidegauge.records import (
    Account,
    Heartbeat,
    InferenceRecord,
    decode,
    encode_heartbeat,
    encode_record,
)
from tidegauge.scoring.scorer import Scorer
from tidegauge.secret_refs import SecretRef
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries import container
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import Bound, Completeness, Incarnation
from tidegauge.summaries.window_summary import FIRST_MAGIC, MAGIC, WindowSummary, summarise
from tidegauge.transformer_spec import Spool, TransformerSpec
from tidegauge.verdict import judge
from tidegauge.webhooks_spec import Webhook
from tidegauge.windows import Window

BASELINE_ID = "f48062a9b07ce1ddb53d83693f4a035e145b3f464ce923ac4ca4d9e67fd63262"


def read(path: str) -> bytes:
    return (DATA / path).read_bytes()


def test_record_v1() -> None:
    data = read("records/inference-v1.json")
    validate("inference-record.v1", json.loads(data))
    record = decode(data)
    assert record == InferenceRecord(
        id="0af7651916cd43dd8448eb211c80319c",
        time_ms=1_700_000_001_250,
        monitor="doors",
        model="doors",
        version="1",
        namespace="default",
        replica="pod-a",
        incarnation="i-1",
        seq=2,
        protocol="v2",
        status=200,
        latency_ms=3.5,
        upstream_ms=2.25,
        rows=2,
        baseline=BASELINE_ID,
        features=[[171.0, "red", False], [None, "<unseen>", True]],
        predictions=[1, 0.25],
        scores={
            "tail": [3.01523341272002, 9.994565759860684],
            "mahalanobis": [0.3272889730543495, 4.8798076923076845],
        },
        p_values={
            "tail": [0.211864406779661, 0.0003841631499652232],
            "mahalanobis": [0.8220338983050848, 0.19491525423728814],
            "combined": [0.288135593220339, 0.0009470815699522861],
        },
        outlier=[False, True],
        top=[
            [["colour", 1.9980959022258835], ["height", 0.9034425893963061], ["open", 0.11369492109783044]],
            [["colour", 4.770684624465665], ["height", 3.672072335797555], ["open", 1.551808799597464]],
        ],
        issues={"missing_value": 1, "unseen_category": 1},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        weight=1.0,
        headers={"x-tenant": "blue"},
        labels={"stage": "canary"},
    )
    added_since = {"rejected": False, "raw": None}
    assert json.loads(encode_record(record)) == json.loads(data) | added_since


def test_heartbeat_v1() -> None:
    data = read("records/heartbeat-v1.json")
    validate("heartbeat.v1", json.loads(data))
    heartbeat = decode(data)
    assert heartbeat == Heartbeat(
        time_ms=1_700_000_005_000,
        monitor="doors",
        model="doors",
        version="1",
        namespace="default",
        replica="pod-a",
        incarnation="i-1",
        seq=2,
        baseline=BASELINE_ID,
        account=Account(
            served=9,
            acknowledged=4,
            dropped={"queue_full": 1, "too_large": 1},
            sampled_out=1,
            in_flight=1,
            spooled=1,
        ),
        final=False,
    )
    assert heartbeat.account.balances()
    assert json.loads(encode_heartbeat(heartbeat)) == json.loads(data)


def test_baseline_v1() -> None:
    data = read("baselines/baseline-v1.json")
    validate("baseline-profile.v1", json.loads(data))
    profile = BaselineProfile.load(data)
    assert profile.schema == FeatureSchema(
        (
            FeatureSpec("height"),
            FeatureSpec("colour", "categorical", ("blue", "green", "red")),
            FeatureSpec("open", "boolean"),
        )
    )
    assert (profile.rows, profile.outliers) == (240, 6)
    assert profile.dump() == data
    assert profile.content_id == BASELINE_ID


def test_baseline_v1_scores_as_it_did() -> None:
    """The golden record was scored by the golden baseline."""
    record = decode(read("records/inference-v1.json"))
    assert isinstance(record, InferenceRecord)
    profile = BaselineProfile.load(read("baselines/baseline-v1.json"))
    scored = Scorer(profile, false_alarm_rate=0.01).score(coerce_rows(record.features, profile.schema).matrix)
    for name, values in record.scores.items():
        assert values == pytest.approx(scored.scores[name], rel=1e-9)
    assert {name: pytest.approx(values, rel=1e-9) for name, values in record.p_values.items()} == scored.p_values
    assert scored.outlier.tolist() == record.outlier


def test_baseline_v2() -> None:
    data = read("baselines/baseline-v2.json")
    validate("baseline-profile.v2", json.loads(data))
    profile = BaselineProfile.load(data)
    assert profile.schema.names == ("height", "colour", "open")
    assert profile.schema.features[1] == FeatureSpec("colour", "categorical", ("blue", "green", "red"))
    assert (profile.rows, profile.outliers) == (240, 6)
    height, colour, _ = profile.references
    assert (height.missing, height.mean, height.high) == (2, 171.8989013744739, 250.0)
    assert height.counts.tolist() == [0, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 13, 0, 2]
    assert colour.edges.tolist() == [-0.5, 0.5, 1.5]
    assert colour.counts.tolist() == [0, 139, 83, 18, 0]
    assert profile.prediction_schema == FeatureSchema((FeatureSpec("prediction"),))
    assert profile.predictions[0].counts.tolist() == [0, 19, 50, 93, 61, 17, 0, 0]
    assert profile.scoring.known_outliers.recall("tail+mahalanobis", 0.01) == 1.0
    assert profile.dump() == data
    assert profile.content_id == "767ec1d6f70640d0265446db59ee45aa69613bced076d3b4f8d18ba99716e753"


def test_baseline_v2_scores_as_it_did() -> None:
    profile = BaselineProfile.load(read("baselines/baseline-v2.json"))
    rows = coerce_rows([[171.0, "red", False], [None, "<unseen>", True]], profile.schema).matrix
    scored = Scorer(profile, false_alarm_rate=0.01).score(rows)
    scores = {
        "tail": [3.37357421, 11.3681212],
        "mahalanobis": [0.27279196, 4.35809524],
        "isolation_forest": [0.552671997, 0.714772633],
        "combined": [2.03828707, 12.8233311],
    }
    assert set(scored.scores) == set(scores)
    for name, values in scores.items():
        assert scored.scores[name] == pytest.approx(values, rel=1e-7)
    assert scored.p_values["combined"] == pytest.approx([0.323404, 1.09425e-05], rel=1e-5)
    assert scored.outlier.tolist() == [False, True]


def test_a_baseline_of_a_version_to_come_is_refused() -> None:
    with pytest.raises(InvalidBaseline, match="not a baseline profile of version 1 or 2"):
        BaselineProfile.load(b'{"v": 3}')


def test_summary_v1() -> None:
    data = read("summaries/summary-v1.bin")
    assert data[:4] == FIRST_MAGIC == b"tgs1"
    validate("window-summary.v1", json.loads(data[4:]))
    summary = WindowSummary.decode(data)
    assert summary.requests == RequestCounts(
        requests=150,
        rows=150,
        flagged=3,
        statuses={"200": 147, "503": 3},
        issues={"unseen_category": 50, "missing_value": 3},
    )
    assert np.add.reduceat(summary.bins.counts, summary.bins.bounds[:-1]).tolist() == [150, 150, 150]
    assert summary.moments.count.tolist() == [149, 149, 149]
    assert summary.account.incarnations == {
        "pod-a/i-1": Incarnation(150, Bound(1_700_000_000_000, 0), Bound(1_700_000_005_000, 150), unnumbered=150),
        "pod-b/i-7": Incarnation(0, Bound(1_700_000_002_500, 0), Bound(1_700_000_002_500, 0), ended=True),
    }
    assert summary.account.completeness(Window(1_700_000_000_000, 1_700_000_005_000)) == Completeness(150, 150)
    assert summary.moments.weight.tolist() == [149.0, 149.0, 149.0]
    assert (summary.quantiles, summary.cross, summary.given, summary.measures) == (None, None, None, None)
    assert (summary.labels, summary.p_values) == (None, None)


def test_summary_v1_merges_with_those_written_now() -> None:
    """An open window of a running aggregator goes on after an upgrade, without what the old part did not measure."""
    old = WindowSummary.decode(read("summaries/summary-v1.bin"))
    new = summarise([make_record()], [], BaselineProfile.load(read("baselines/baseline-v1.json")))
    for merged in (old.merge(new), new.merge(old)):
        assert merged.requests.requests == 151
        assert merged.moments.count.tolist() == [150, 150, 150]
        assert merged.quantiles is None
        assert WindowSummary.decode(merged.encode()).encode() == merged.encode()


def test_summary_v2() -> None:
    data = read("summaries/summary-v2.bin")
    assert data[:4] == MAGIC == b"tgs2"
    validate("window-summary.v2", container.head(data[4:]))
    summary = WindowSummary.decode(data)
    validate("window-summary.v2", container.head(summary.encode()[4:]))
    written_otherwise = dict.fromkeys(("account", "moments", "measures"))
    alike = [container.load(data[4:]) | written_otherwise for data in (data, summary.encode())]
    assert container.dump(alike[0]) == container.dump(alike[1])
    read_again = WindowSummary.decode(summary.encode())
    assert read_again.measures is not None
    for before, after in (
        (summary.moments, read_again.moments),
        (summary.measures and summary.measures.moments, read_again.measures.moments),
    ):
        assert all(np.array_equal(array, getattr(after, name)) for name, array in vars(before).items())
    assert summary.requests.weighted() == {
        "requests": 591.0,
        "rows": 591.0,
        "flagged": 3.0,
        "status.200": 588.0,
        "status.503": 3.0,
    }
    assert summary.moments.count.tolist() == [149, 150, 150]
    assert [bins.counts.sum() for bins in summary.bins.weighted] == [591.0, 591.0, 591.0]
    assert summary.quantiles is not None
    assert summary.quantiles.quantiles(np.array([0.25, 0.5, 0.75]))[0].tolist() == pytest.approx(
        [167.0, 173.0, 179.0], abs=1e-5
    )
    assert summary.cross is not None
    assert summary.cross.count.tolist() == [[149, 149], [149, 150]]
    assert summary.given is not None
    assert summary.given.edges == {"height": (160.0, 180.0)}
    assert summary.given.bins is not None
    assert summary.given.bins.counts.tolist() == [0, 113, 36, 1]
    assert summary.measures is not None
    assert summary.measures.names == ("latency_ms", "prediction", "score.tail", "upstream_ms")
    assert summary.labels is not None
    assert summary.labels.rows.counts == {("prediction", "0"): 75, ("prediction", "1"): 75}
    assert summary.p_values is not None
    assert summary.p_values.bins.counts[-2:].tolist() == [75, 0]


def test_a_summary_of_a_version_to_come_is_refused() -> None:
    with pytest.raises(InvalidSummary, match="tgs3"):
        WindowSummary.decode(b"tgs3{}")


def report_on(summary: str, monitor: ModelMonitor) -> dict[str, Any]:
    """The verdict on a golden summary by the golden baseline."""
    return judge(
        monitor=monitor,
        profile=BaselineProfile.load(read("baselines/baseline-v1.json")),
        version="1",
        window=Window(1_700_000_000_000, 1_700_000_005_000),
        summary=WindowSummary.decode(read(summary)),
    ).to_document()


def test_report_v1() -> None:
    expected = json.loads(read("reports/report-v1.json"))
    validate("window-report.v1", expected)
    report = report_on("summaries/summary-v1.bin", parse_monitor(monitor_document(windows={"duration": "5s"})))
    validate("window-report.v1", report)
    assert _within(_rounded(report), _rounded(expected)) == []


def test_report_v1_with_statistics() -> None:
    expected = json.loads(read("reports/report-v1-statistics.json"))
    validate("window-report.v1", expected)
    monitor = parse_monitor(
        monitor_document(windows={"duration": "5s"}, statistics={"percentiles": [0, 50, 99.9], "topCategories": 2})
    )
    report = report_on("summaries/summary-v2.bin", monitor)
    validate("window-report.v1", report)
    assert _within(_rounded(report), _rounded(expected)) == []


def test_report_v1_with_causes() -> None:
    expected = json.loads(read("reports/report-v1-causes.json"))
    validate("window-report.v1", expected)
    report = report_on("summaries/summary-v1.bin", parse_monitor(monitor_document(windows={"duration": "5s"})))
    assert [cause["kind"] for cause in expected["causes"]] == ["shift", "new_categories", "missing"]
    assert _within(_rounded(report), _rounded(expected)) == []


def _within(document: Any, golden: Any, path: str = "report") -> list[str]:
    """Where `document` says something else than `golden`, or nothing. Fields that came later are not in `golden`."""
    if isinstance(golden, dict) and isinstance(document, dict):
        pairs = [(document.get(name), value, f"{path}.{name}") for name, value in golden.items()]
    elif isinstance(golden, list) and isinstance(document, list) and len(golden) == len(document):
        pairs = [(item, value, f"{path}[{at}]") for at, (item, value) in enumerate(zip(document, golden, strict=True))]
    else:
        return [] if document == golden else [f"{path}: {document!r}, was {golden!r}"]
    return [difference for one, other, at in pairs for difference in _within(one, other, at)]


def _rounded(value: object) -> object:
    """Floats to 9 digits: the last ones may differ between processors."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_minimal_monitor_v1alpha1() -> None:
    monitor = parse_monitor(yaml.safe_load(read("monitors/minimal-v1alpha1.yaml")))
    assert monitor == ModelMonitor(
        name="doors",
        namespace="default",
        inference_service="doors",
        model=ModelRef("doors", "1"),
        baseline=BaselineRef(file="doors-baseline.json"),
        kafka=Kafka("127.0.0.1:9092"),
    )


def test_full_monitor_v1alpha1() -> None:
    monitor = parse_monitor(yaml.safe_load(read("monitors/full-v1alpha1.yaml")))
    assert monitor == ModelMonitor(
        name="shuttle",
        namespace="models",
        inference_service="shuttle-serving",
        model=ModelRef("shuttle", "2026-01"),
        baseline=BaselineRef(
            uri="https://models.example/shuttle-baseline.json",
            sha256="57d5a1b6ab5c0f70ab12c0ba3d2d1ff9e4b0f4a0ffb9a3f5d0cbb9cfc2fd7a31",
        ),
        kafka=Kafka(
            "kafka-0:9092,kafka-1:9092",
            Topics(
                inference=Topic("shuttle.inference", 12, 3),
                outliers=Topic("shuttle.outliers", 2, 3),
                statistics=Topic("shuttle.statistics"),
                drift=Topic("shuttle.drift"),
                alerts=Topic("shuttle.alerts"),
                dead_letter=Topic("shuttle.dead-letter"),
            ),
            Security(
                "SASL_SSL",
                "/run/kafka/ca.crt",
                "/run/kafka/tls.crt",
                "/run/kafka/tls.key",
                Login("SCRAM-SHA-256", "tidegauge", SecretRef(file="/run/kafka/password")),
            ),
        ),
        suspend=True,
        transformer=TransformerSpec(workers=2, spool=Spool("/var/spool/tidegauge", 2 << 30)),
        aggregator=AggregatorSpec("postgresql+psycopg://tidegauge@db/tidegauge", 90 * 86_400_000, "reports/"),
        capture=Capture(
            sample_rate=0.25,
            headers=("x-tenant",),
            labels={"stage": "canary"},
            redact={
                "ssn": Redaction("drop"),
                "income": Redaction("bucket"),
                "city": Redaction("hash", SecretRef(env="CITY_KEY")),
                "street": Redaction("hash", SecretRef(file="/run/keys/street")),
            },
            max_record_bytes=900_000,
            max_body_bytes=4096,
        ),
        outliers=Outliers(("mahalanobis", "plant.detectors:Spread"), 0.01, "reject", 2.5),
        windows=Windows(60_000, 15_000, 2_500, 500, lateness_ms=1_800_000, provisional_ms=2_000),
        drift=Drift(
            FalseAlarmBudget(2.0, 7 * 86_400.0),
            {"jensen_shannon": 0.01, "location": 0.0},
            {"location": 1.0, "psi": 0.2},
            OwnTests(("plant.drift:wear",), ("plant.drift:noise",)),
        ),
        statistics=Statistics((50.0, 99.9), False, {"height": (150.0, 180.5)}, 3, ("plant.statistics:Rounded",)),
        alerts=AlertPolicy(
            consecutive_windows=3,
            resolve_after=4,
            blind_after=20,
            reopen_within_ms=1_800_000,
            minimum_completeness=0.9,
            webhooks=(
                Webhook("ops", "json", "https://ops.example/alerts", None, "OPS_TOKEN", 5_000, True),
                Webhook("chat", "slack", url_env="CHAT_URL"),
            ),
        ),
    )
