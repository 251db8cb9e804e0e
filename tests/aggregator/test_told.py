from __future__ import annotations

import orjson

from aggregator.told import told_of_report
from tests.support.schemas import DATA


def test_of_a_report_the_log_and_the_metrics_get_what_they_tell_and_no_more() -> None:
    value = (DATA / "reports" / "report-v1.json").read_bytes()
    told = told_of_report(value)
    whole = orjson.loads(value)
    assert {name: told[name] for name in ("monitor", "verdict", "requests")} == {
        name: whole[name] for name in ("monitor", "verdict", "requests")
    }
    assert set(told["features"][0]) == {"tests"}
