"""What the benchmarks say of what they measured: the share found in the cache, and the chart."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.chart import chart
from bench.dialogues import Spent, found_share
from bench.measures import Row

SVG = "{http://www.w3.org/2000/svg}"


def test_what_could_be_found_is_all_that_the_turn_before_had() -> None:
    first = [Spent(100, 50, 80), Spent(180, 20, 140), Spent(230, 10, 195)]
    second = [Spent(100, 100, 0), Spent(220, 30, 100)]
    assert found_share([first]) == (140 + 195) / (150 + 200)
    assert found_share([first, second]) == (140 + 195 + 100) / (150 + 200 + 200)


def test_a_chart_has_a_line_for_each_ratio_and_a_mark_for_its_bar() -> None:
    rows = [
        Row("throughput <whole path>", "0.98", ">= 0.95", True, 0.98, 0.95),
        Row("the usual layout & its hits", "25 %", "", None, 0.25),
        Row("first text " + "long " * 40, "1.5", "<= 1.3", False, 1.5, 1.3),
        Row("start", "0.7 s", "<= 1.5 s", True),
    ]
    drawn = ElementTree.fromstring(chart(rows))
    bars = drawn.findall(f"{SVG}rect")
    assert [bar.get("class") for bar in bars] == ["met", "met", "missed"]
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert [round(width / widths[0], 2) for width in widths] == [1.0, round(0.25 / 0.98, 2), round(1.5 / 0.98, 2)]
    assert len(drawn.findall(f"{SVG}line")) == 2
    left = float(bars[0].get("x") or 0)
    ends = [float(mark.get("x1") or 0) - left for mark in drawn.findall(f"{SVG}line")]
    assert ends[0] < widths[0]
    assert ends[1] < widths[2]
    assert "throughput <whole path>" in "".join(drawn.itertext())


def test_a_chart_of_nothing_is_one_all_the_same() -> None:
    assert ElementTree.fromstring(chart([])).tag == f"{SVG}svg"
