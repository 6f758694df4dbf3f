"""report.html, opened from disk in a browser without network access."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ablation.show.study import Study
from tests.committed import when_run
from tests.show.conftest import Open, Visit

pytestmark = pytest.mark.browser
MARKS = ".mark-symbol path, .mark-rule line, .mark-line path, .mark-rect path"
TECHNIQUES = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(reported: Study, visit: Open) -> Visit:
    return visit(reported.root / "plots/report.html")


OPEN = "document.querySelectorAll('details').forEach((part) => part.open = true)"


@pytest.fixture(scope="module")
def opened(reported: Study, visit: Open) -> Visit:
    """The report with everything unfolded."""
    found = visit(reported.root / "plots/report.html")
    found.page.evaluate(OPEN)
    found.page.wait_for_function("document.body.dataset.drawn == charts.length")
    return found


def test_every_chart_has_marks_in_each_panel(opened: Visit) -> None:
    charts = opened.page.locator(".chart")
    assert charts.count() == 4 + 2 * TECHNIQUES
    for place in range(charts.count()):
        panels = charts.nth(place).locator(".mark-group.cell > g")
        assert panels.count() == 3
        for panel in range(3):
            assert panels.nth(panel).locator(MARKS).count() > 0


def test_only_the_summary_is_drawn_before_a_section_is_opened(report: Visit) -> None:
    assert report.page.locator("svg.marks").count() == 1
    assert report.page.locator("details[open]").count() == 0


def test_the_report_logs_nothing_and_requests_only_itself(report: Visit) -> None:
    assert report.said == []
    assert [url for url in report.asked if not url.startswith("data:")] == [report.page.url]


def test_every_picture_is_in_the_page(report: Visit) -> None:
    loaded = report.page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(loaded) == 9
    assert min(loaded) > 1000


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_the_page_is_as_wide_as_the_window(report: Visit, width: int) -> None:
    report.page.set_viewport_size({"width": width, "height": 900})
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 400])
def test_no_chart_is_wider_than_the_page(reported: Study, visit: Open, width: int) -> None:
    page = visit(reported.root / "plots/report.html").page
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    page.wait_for_selector("body[data-drawn]")
    page.evaluate(OPEN)
    page.wait_for_function("document.body.dataset.drawn == charts.length")
    wide = page.evaluate(
        "[...document.querySelectorAll('.chart')]"
        ".filter((chart) => chart.scrollWidth > chart.clientWidth)"
        ".map((chart) => chart.dataset.name)"
    )
    assert wide == []


def test_on_a_phone_names_stand_in_the_panels(reported: Study, visit: Open) -> None:
    page = visit(reported.root / "plots/report.html").page
    page.set_viewport_size({"width": 400, "height": 900})
    page.reload()
    page.wait_for_selector("body[data-drawn]")
    chart = page.locator("[data-name=leave_one_out]")
    labels = chart.locator(".role-axis-label text").all_text_contents()
    assert "scheduler" not in labels
    assert "scheduler" in chart.locator(".mark-text text").all_text_contents()


def test_a_dark_system_has_a_dark_page(reported: Study, chromium: Any) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page = chromium.new_page(color_scheme=scheme)
        page.goto((reported.root / "plots/report.html").as_uri())
        page.wait_for_selector("body[data-drawn]")
        taken = Image.open(io.BytesIO(page.screenshot())).convert("L")
        brightness[scheme] = float(np.median(np.asarray(taken)))
        page.close()
    assert brightness["light"] == 255
    assert brightness["dark"] < 40


def test_a_ranking_starts_with_the_winner_and_has_no_grid(opened: Visit) -> None:
    chart = opened.page.locator("[data-name='gains/3-optimizer']")
    names = [name for name in chart.locator("text").all_text_contents() if "lr=" in name]
    assert names[0] == "rmsprop lr=0.0003 alpha=0.99"
    assert "adam lr=0.003" not in names


@when_run("report")
def test_no_chart_of_the_committed_study_is_clipped(visit: Open) -> None:
    page = visit(ROOT / "plots/report.html").page
    page.evaluate(OPEN)
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')]"
        ".every((chart) => chart.scrollWidth > 0 && chart.scrollWidth <= chart.clientWidth)"
    )
