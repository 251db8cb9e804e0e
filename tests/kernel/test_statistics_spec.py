from __future__ import annotations

import pytest

from tests.support.examples import monitor_document
from tidegauge.errors import InvalidMonitor
from tidegauge.monitor import parse_monitor
from tidegauge.statistics_spec import Statistics


def parsed(**section: object) -> Statistics:
    return parse_monitor(monitor_document(statistics=section)).statistics


def test_everything_is_on_by_default() -> None:
    assert parsed() == Statistics((1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0), True, {}, 10)


def test_what_is_computed_can_be_chosen() -> None:
    bins = {"height": [150, 160.5]}
    found = parsed(percentiles=[0, 50, 99.9], covariance=False, bins=bins, topCategories=3)
    assert found == Statistics((0.0, 50.0, 99.9), False, {"height": (150.0, 160.5)}, 3)


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"percentiles": []}, "spec.statistics.percentiles"),
        ({"percentiles": 50}, "spec.statistics.percentiles"),
        ({"percentiles": [50, 101]}, "spec.statistics.percentiles"),
        ({"percentiles": [-1]}, "spec.statistics.percentiles"),
        ({"percentiles": [50, 25]}, "spec.statistics.percentiles"),
        ({"percentiles": [True]}, "spec.statistics.percentiles"),
        ({"bins": [1]}, "spec.statistics.bins"),
        ({"bins": {"height": [1, 1]}}, "spec.statistics.bins.height"),
        ({"bins": {"height": ["10", "9"]}}, "spec.statistics.bins.height"),
        ({"bins": {"height": [float("nan")]}}, "spec.statistics.bins.height"),
        ({"bins": {"height": list(range(201))}}, "spec.statistics.bins.height"),
        ({"topCategories": 0}, "spec.statistics.topCategories"),
        ({"covariance": "yes"}, "spec.statistics.covariance"),
        ({"median": True}, "spec.statistics.median"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_path(section: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidMonitor) as refusal:
        parsed(**section)
    assert refusal.value.path == path
