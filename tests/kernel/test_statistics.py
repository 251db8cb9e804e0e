"""What a report says of a window's statistics beside the moments: who answered what, how fast, with which surprise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.examples import make_record, mixed_profile, mixed_rows, monitor_document
from tidegauge.errors import BaselineMismatch
from tidegauge.monitor import parse_monitor
from tidegauge.records import InferenceRecord
from tidegauge.statistics import check_bins, feature_statistics
from tidegauge.statistics_spec import Statistics
from tidegauge.summaries.label_counts import MOST_LABELS
from tidegauge.summaries.measures import MOST_MEASURES
from tidegauge.summaries.predictions import LABEL_LENGTH, MOST_OUTPUTS
from tidegauge.summaries.window_summary import summarise, summarise_matrix
from tidegauge.window_statistics import window_statistics

PROFILE = mixed_profile()
MONITOR = parse_monitor(monitor_document())


def of_window(records: list[InferenceRecord], **settings: Any) -> Any:
    monitor = parse_monitor(monitor_document(statistics=settings))
    return window_statistics(monitor, PROFILE, summarise(records, [], PROFILE, monitor.statistics))


def answering(*predictions: object, rows: int = 1, **changes: Any) -> Any:
    return of_window([make_record(predictions=answer, rows=rows, **changes) for answer in predictions])


def test_latencies_and_scores_have_moments_and_percentiles() -> None:
    records = [
        make_record(latency_ms=float(at), upstream_ms=at / 2, scores={"tail": [float(at)]}) for at in range(1, 101)
    ]
    found = of_window(records, percentiles=[0, 50, 90, 100])
    assert found["timings"]["latency_ms"]["percentiles"] == {"0": 1.0, "50": 50.0, "90": 90.0, "100": 100.0}
    assert found["timings"]["upstream_ms"]["mean"] == 25.25
    assert found["scores"]["tail"]["standard_deviation"] == pytest.approx(np.arange(1, 101).std(ddof=1))


def test_combined_p_values_are_counted_on_a_grid_of_decades() -> None:
    records = [make_record(p_values={"combined": p_values}) for p_values in ([1e-9, 1e-6, 0.2], [0.49], [1.0, None])]
    found = of_window([*records, make_record()])["p_values"]
    assert found["edges"] == pytest.approx([d * 10.0**e for e in range(-6, 0) for d in (1, 2, 5)])
    assert (found["counts"][:2], found["counts"][-2:], found["missing"]) == ([1, 1], [2, 1], 1)
    assert sum(found["counts"]) == 5


def test_numbers_are_quantities_and_texts_are_labels() -> None:
    found = answering([1.5, 2.5], ["cat", "dog", "cat"], [True], rows=2)
    assert found["predictions"]["prediction"]["mean"] == 2.0
    top = [(item["value"], item["count"]) for item in found["labels"]["prediction"]["top"]]
    assert top == [("cat", 2), ("True", 1), ("dog", 1)]
    assert found["labels"]["prediction"]["top"][0]["share"] == 0.5


def test_whole_numbers_are_both() -> None:
    found = answering([3], [3], [4])
    assert found["predictions"]["prediction"]["max"] == 4.0
    assert [item["value"] for item in found["labels"]["prediction"]["top"]] == ["3", "4"]


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        ([[0.25, 0.75], [0.5, 0.5]], {"prediction.0": 0.375, "prediction.1": 0.625}),
        ([0.25, 0.75, 0.5, 0.5], {"prediction.0": 0.375, "prediction.1": 0.625}),
        ([[1.5], [2.5]], {"prediction": 2.0}),
        ({"age": [40.0, 42.0], "pair": [[1.0, 2.0], [3.0, 4.0]]}, {"age": 41.0, "pair.0": 2.0, "pair.1": 3.0}),
        ([{"age": 40.0}, {"age": 42.0}, 7], {"age": 41.0}),
        ([[1.0, 2.0], [1.0]], {"prediction.0": 1.0, "prediction.1": 2.0}),
        ([10**400, 2.0], {"prediction": 2.0}),
        ([None, 2.0], {"prediction": 2.0}),
    ],
    ids=["rows", "flat", "one-wide", "named-tensors", "named-values", "ragged", "beyond-doubles", "gaps"],
)
def test_every_output_is_summarised(answer: object, outputs: dict[str, float]) -> None:
    found = answering(answer, rows=2)["predictions"]
    assert {name.removeprefix("prediction.") if "prediction" not in outputs else name for name in found} == {
        name.removeprefix("prediction.") if "prediction" not in outputs else name for name in outputs
    }
    means = {name: values["mean"] for name, values in found.items()}
    for name, mean in outputs.items():
        assert means.get(name, means.get(f"prediction.{name}")) == pytest.approx(mean)


@pytest.mark.parametrize("answer", [None, 5, "text", [], {"a": 5}, [[[1.0]]], [[]]], ids=repr)
def test_what_is_no_prediction_per_row_is_left_out(answer: object) -> None:
    found = answering(answer)
    assert (found["predictions"], found["labels"]) == ({}, {})


def test_an_embedding_is_watched_in_part() -> None:
    found = answering([[0.5] * 100])
    assert len(found["predictions"]) == MOST_OUTPUTS
    found = of_window([make_record(predictions={f"output-{at:03}": [0.5]}) for at in range(100)])
    assert sorted(found["predictions"])[-1] == f"prediction.output-{MOST_OUTPUTS - 1:03}"


def test_outputs_named_at_random_fill_no_memory() -> None:
    parts = [summarise([make_record(predictions={f"{at:03}": [0.5]})], [], PROFILE) for at in range(100)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert merged.measures is not None
    assert len(merged.measures.names) == MOST_MEASURES


def test_labels_without_end_are_counted_and_not_all_kept() -> None:
    found = answering(*[[f"id-{at:04}"] for at in range(400)])["labels"]["prediction"]
    assert (found["count"], found["distinct"], found["not_kept"]) == (400, MOST_LABELS, 400 - MOST_LABELS)
    long = answering(["x" * 1000])["labels"]["prediction"]["top"]
    assert long[0]["value"] == "x" * LABEL_LENGTH


def test_sampled_answers_are_weighted() -> None:
    records = [
        make_record(predictions=["cat"], weight=1.0, status=503),
        make_record(predictions=["dog"], weight=9.0, status=200),
        make_record(predictions=[2], weight=9.0),
        make_record(predictions=[4], weight=1.0),
    ]
    found = of_window(records)
    shares = {item["value"]: item["share"] for item in found["labels"]["prediction"]["top"]}
    assert shares == {"cat": 0.05, "dog": 0.45, "2": 0.45, "4": 0.05}
    assert found["predictions"]["prediction"]["mean"] == pytest.approx(2.2)
    assert found["estimated"]["statuses"] == {"503": 1, "200": 19}
    assert found["estimated"]["effective_rows"] == pytest.approx(20**2 / 164)


def test_a_label_that_only_a_stratum_keeps_is_not_kept() -> None:
    """The whole keeps the first labels by name; those of one weight may keep others."""
    many = [make_record(predictions=[f"a-{at:03}"]) for at in range(MOST_LABELS)]
    found = of_window([*many, make_record(predictions=["z"], weight=5.0)])["labels"]["prediction"]
    assert (found["count"], found["not_kept"]) == (MOST_LABELS + 5, 5)


def test_categories_are_ranked_and_the_unseen_are_counted() -> None:
    colours = ["red"] * 5 + ["blue"] * 3 + ["pink"] * 2 + [None]
    records = [make_record(features=[[170.0, colour, True]]) for colour in colours]
    monitor = parse_monitor(monitor_document(statistics={"topCategories": 1}))
    found = feature_statistics(monitor, PROFILE, summarise(records, [], PROFILE))[1]
    assert found["categories"] == {
        "distinct": 2,
        "top": [{"value": "red", "count": 5, "share": 0.5}],
        "unseen": {"count": 2, "share": 0.2},
    }
    assert found["distribution"] is found["given_distribution"] is None
    (_, none, _) = feature_statistics(monitor, PROFILE, summarise([], [], PROFILE))
    assert none["categories"]["unseen"] == {"count": 0, "share": None}


def test_a_histogram_on_given_edges_has_every_row() -> None:
    settings = Statistics(bins={"height": (160.0, 170.0), "colour": (1.0,), "weight": (3.0,)})
    matrix = np.array([[159.0, 0, 0], [160.0, 0, 0], [169.9, 0, 0], [170.0, 0, 0], [np.nan, 0, 0]])
    halves = [summarise_matrix(part, PROFILE, statistics=settings) for part in (matrix[:2], matrix[2:])]
    (height, colour, _) = feature_statistics(MONITOR, PROFILE, halves[0].merge(halves[1]))
    assert height["given_distribution"] == {"edges": [160.0, 170.0], "counts": [1, 2, 1], "missing": 1}
    assert colour["given_distribution"] is None


def test_bins_of_what_is_no_quantity_are_refused() -> None:
    check_bins(Statistics(bins={"height": (160.0,), "open": (0.5,)}), PROFILE.schema)
    with pytest.raises(BaselineMismatch, match="colour, hight"):
        check_bins(Statistics(bins={"hight": (160.0,), "colour": (1.0,)}), PROFILE.schema)


def test_edges_changed_within_a_window_are_not_mixed() -> None:
    old, new = Statistics(bins={"height": (160.0,)}), Statistics(bins={"height": (165.0,)})
    one, two = (summarise_matrix(mixed_rows(5), PROFILE, statistics=settings) for settings in (old, new))
    merged = one.merge(two).merge(one)
    again = type(merged).decode(merged.encode())
    assert feature_statistics(MONITOR, PROFILE, again)[0]["given_distribution"] is None
    assert again.moments.count.tolist() == [15, 15, 15]


def test_what_was_not_measured_is_null() -> None:
    bare = replace(
        summarise_matrix(mixed_rows(50), PROFILE),
        quantiles=None,
        cross=None,
        given=None,
        measures=None,
        labels=None,
        p_values=None,
    )
    found = window_statistics(MONITOR, PROFILE, bare)
    assert (found["timings"], found["scores"], found["predictions"], found["labels"]) == ({}, {}, {}, {})
    assert found["p_values"] is None
    assert not found["covariance"]["measured"]
    assert feature_statistics(MONITOR, PROFILE, bare)[0]["percentiles"] is None


def test_covariance_can_be_left_out() -> None:
    found = of_window([make_record()], covariance=False)
    why = "statistics.covariance is off, or was for a part of the window"
    assert found["covariance"] == {"measured": False, "why": why}


class TestNonFiniteValues:
    def test_of_a_matrix_are_counted_by_feature(self) -> None:
        matrix = np.array([[np.inf, 0.0, 0.0], [np.nan, 0.0, 0.0], [170.0, 0.0, -np.inf]])
        (height, _, door) = feature_statistics(MONITOR, PROFILE, summarise_matrix(matrix, PROFILE))
        assert (height["count"], height["missing"], height["non_finite"]) == (1, 2, 1)
        assert door["non_finite"] == 1

    def test_of_records_are_none_where_no_request_had_any(self) -> None:
        (height, *_) = feature_statistics(MONITOR, PROFILE, summarise([make_record()], [], PROFILE))
        assert height["non_finite"] == 0

    def test_of_records_are_not_guessed(self) -> None:
        records = [make_record(features=[[None, "red", True]], issues={"non_finite": 1})]
        (height, *_) = feature_statistics(MONITOR, PROFILE, summarise(records, [], PROFILE))
        assert (height["missing"], height["non_finite"]) == (1, None)


class TestRowsWithoutRecords:
    def test_have_predictions_scores_and_verdicts(self) -> None:
        summary = summarise_matrix(
            mixed_rows(4),
            PROFILE,
            predictions=np.array([1.0, 2.0, 3.0, 4.0]),
            scores={"tail": [0.5, 0.5, 0.5, 2.5]},
            p_values=[0.5, 0.5, 0.5, 1e-7],
            outlier=[False, False, False, True],
            weights=[1.0, 1.0, 1.0, 2.0],
        )
        found = window_statistics(MONITOR, PROFILE, summary)
        assert found["predictions"]["prediction"]["mean"] == pytest.approx(14 / 5)
        assert found["scores"]["tail"]["max"] == 2.5
        assert found["p_values"]["counts"][0] == 2
        assert (found["estimated"]["rows"], found["estimated"]["flagged"]) == (5, 2)
        assert found["estimated"]["requests"] == 0

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ({"weights": [1.0]}, "weights: 1 values for 2 rows"),
            ({"scores": {"tail": [1.0]}}, "tail: 1 values for 2 rows"),
            ({"weights": [1.0, 0.0]}, "above 0"),
        ],
    )
    def test_must_fit_together(self, more: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            summarise_matrix(mixed_rows(2), PROFILE, **more)

    def test_must_have_the_baselines_features(self) -> None:
        with pytest.raises(ValueError, match="expected rows of 3 features"):
            summarise_matrix(np.zeros((2, 2)), PROFILE)
