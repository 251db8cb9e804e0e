"""Pages: escaped, whole, and with a chart only where there is something to draw."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tidegauge.html_page import Bars, page, picture, pictures, table


def test_everything_that_is_told_is_escaped() -> None:
    rows = [("<a>", "<b>"), ("plain", "&")]
    chart = picture("<n>", '"<l>"', [Bars("<t>", (0.25, 0.75))], note="<&>")
    told = page("<title>", [table(("<c>", "d"), rows, marked=("<a>",)), pictures([chart])])
    body = ElementTree.fromstring(told[told.index("<body>") : told.index("</html>")])
    assert [cell.text for cell in body.iter("th")] == ["<c>", "d", "<a>", "plain"]
    assert [cell.get("class") for cell in body.iter("th")] == [None, None, "drifted", None]
    assert [cell.text for cell in body.iter("td")] == ["<b>", "&"]
    assert body.find(".//small").text == "<&>"  # type: ignore[union-attr]
    assert body.find(".//svg").get("aria-label") == '"<l>"'  # type: ignore[union-attr]


@pytest.mark.parametrize("shares", [(0.5,), (0.25, 0.5)])
def test_the_highest_bar_fills_the_chart(shares: tuple[float, ...]) -> None:
    chart = ElementTree.fromstring(picture("n", "l", [Bars("t", shares), Bars("u", shares)]))
    bars = list(chart.iter("rect"))
    assert len(bars) == 2 * len(shares)
    assert max(float(bar.get("height", "")) for bar in bars) == 90.0
    assert {bar.get("class") for bar in bars} == ({"now"} if len(shares) == 1 else {"base", "now"})
    assert all(0 <= float(bar.get("x", "")) < 320 for bar in bars)


def test_nothing_to_draw_is_no_chart() -> None:
    assert "<svg" not in picture("n", "l", [])
    assert "<svg" not in picture("n", "l", [Bars("t", (0.0, 0.0))])
    assert "<small" not in picture("n", "l", [])
