"""A window's report as JSON, as docs/schemas/window-report.v1.json says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from tidegauge.budget import Spending
from tidegauge.json_texts import GAP, Form, Texts, extended, name_text, text_of, truths
from tidegauge.report import FeatureReport, ReportKind, WindowReport
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.versus import Versus

VERSION: Final = 1

_BUDGET: Final = tuple(field.name for field in fields(Spending))

_JUDGED: Final = Form({"name": GAP, "drifted": GAP, "dispersion": GAP, "tests": GAP})


def document_of(report: WindowReport, kind: ReportKind = "report") -> bytes:
    drifted, completeness, whole = report.drifted_features, report.completeness, kind != "drift"
    judged = iter(report.judged_texts)
    features = [next(judged) for _ in report.features]
    if whole:
        told = zip(features, report.features, strict=True)
        features = [extended(text, "statistics", text_of(feature.statistics)) for text, feature in told]
    document = {
        "v": VERSION,
        "kind": kind,
        "monitor": report.monitor,
        "model": report.model,
        "version": report.version,
        "baseline": report.baseline,
        "window": {
            "start_ms": report.window.start_ms,
            "end_ms": report.window.end_ms,
            "duration_ms": report.window.duration_ms,
        },
        "revision": report.revision,
        "verdict": report.verdict,
        "drifted": bool(report.drifted),
        "drifted_features": drifted,
        "worst_feature": drifted[0] if drifted else None,
        "requests": report.requests.requests,
        "statuses": dict(report.requests.statuses),
        "issues": dict(report.requests.issues),
        "outliers": outliers(report.requests),
        "completeness": {
            "seen": completeness.seen,
            "served": completeness.served,
            "share": completeness.share,
        },
        "account": {
            "sampled_out": completeness.sampled_out,
            "spooled": completeness.spooled,
            "duplicates": completeness.duplicates,
            "unaccounted": completeness.unaccounted,
        },
        "budget": {name: getattr(report.spending, name) for name in _BUDGET},
        **({"statistics": orjson.Fragment(text_of(report.statistics))} if whole else {}),
        "causes": [cause.to_document() for cause in report.causes],
        "versus": None if report.versus is None else _versus(report.versus),
        "features": list(map(orjson.Fragment, features)),
        "predictions": [orjson.Fragment(next(judged)) for _ in report.predictions],
        "predictions_not_measured": report.why_no_predictions,
        "joint": {
            "scores": None if report.scores is None else orjson.Fragment(next(judged)),
            **{name: orjson.Fragment(text) for name, text in report.joint.texts.items()},
        },
    }
    return orjson.dumps(document)


def texts_of_judged(judged: Sequence[FeatureReport]) -> Texts:
    """Without the statistics, which features alone have."""
    texts = _JUDGED.fill(
        [name_text(one.name) for one in judged],
        truths([one.drifted for one in judged]),
        [b"null" if one.dispersion is None else text_of(one.dispersion) for one in judged],
        [one.tests.text for one in judged],
    )
    for at, one in enumerate(judged):
        if one.withheld is not None:
            texts[at] = extended(texts[at], "withheld", orjson.dumps(one.withheld))
    return texts


def outliers(requests: RequestCounts) -> dict[str, Any]:
    sums = requests.weighted()
    rate = sums["flagged"] / sums["rows"] if requests.rows else None
    return {"rows": requests.rows, "flagged": requests.flagged, "rate": rate}


def _versus(versus: Versus) -> dict[str, Any]:
    return {
        "version": versus.version,
        "requests": versus.requests.requests,
        "statuses": dict(versus.requests.statuses),
        "outliers": outliers(versus.requests),
        "differing_features": versus.differing,
        "features": [{"name": name, "tests": orjson.Fragment(results.text)} for name, results in versus.tests.items()],
    }
