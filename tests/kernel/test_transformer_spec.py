"""The monitor's section `transformer`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.examples import monitor_document
from tidegauge.errors import InvalidMonitor
from tidegauge.monitor import parse_monitor
from tidegauge.transformer_spec import Spool, TransformerSpec, quantity


def transformer(**section: Any) -> TransformerSpec:
    return parse_monitor(monitor_document(transformer=section)).transformer


def test_there_is_no_spool_unless_it_has_a_place() -> None:
    assert transformer() == TransformerSpec(1, None)
    assert transformer(workers=2, spool={"directory": "/spool"}) == TransformerSpec(2, Spool("/spool", 1 << 30))
    assert transformer(spool={"directory": "/s", "maxBytes": "64Mi"}).spool == Spool("/s", 64 << 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(20_000_000, 20_000_000), ("7", 7), ("2k", 2000), ("1.5Gi", 3 << 29), ("3M", 3_000_000), ("1T", 10**12)],
)
def test_quantities_are_those_of_kubernetes(value: object, expected: int) -> None:
    assert quantity(value) == expected


@pytest.mark.parametrize("value", ["", "1 Gi", "-1", "1Pi", "Gi", True, None, 1.5e30, "1e3"])
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        quantity(value)


@pytest.mark.parametrize(
    ("spool", "path"),
    [
        ({}, "directory"),
        ({"directory": "relative"}, "directory"),
        ({"directory": "/s", "maxBytes": "much"}, "maxBytes"),
        ({"directory": "/s", "maxBytes": "31Mi"}, "maxBytes"),
        ({"directory": "/s", "size": 1}, "size"),
    ],
)
def test_a_spool_that_cannot_be_is_refused_by_its_path(spool: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMonitor) as refused:
        transformer(workers=2, spool=spool)
    assert f"spec.transformer.spool.{path}:" in str(refused.value)
