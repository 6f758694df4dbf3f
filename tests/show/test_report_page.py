"""report.html, opened from disk in a browser without network access."""

from pathlib import Path

import pytest

from ablation.show.study import Study
from tests.show.conftest import Open, Visit

pytestmark = pytest.mark.browser
MARKS = ".mark-symbol path, .mark-rule line, .mark-line path, .mark-rect path"
TECHNIQUES = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(reported: Study, visit: Open) -> Visit:
    return visit(reported.root / "plots/report.html")


def test_every_chart_has_marks_in_each_panel(report: Visit) -> None:
    charts = report.page.locator(".chart")
    folded = report.page.locator("details .chart").count()
    assert charts.count() == 3 + 2 * TECHNIQUES + folded
    assert folded == 1  # of the optimizers, which alone have grids
    for place in range(charts.count()):
        panels = charts.nth(place).locator(".mark-group.cell > g")
        assert panels.count() == 3
        for panel in range(3):
            assert panels.nth(panel).locator(MARKS).count() > 0


def test_the_report_logs_nothing_and_requests_only_itself(report: Visit) -> None:
    assert report.said == []
    assert [url for url in report.asked if not url.startswith("data:")] == [report.page.url]


def test_every_picture_is_in_the_page(report: Visit) -> None:
    loaded = report.page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(loaded) == 10
    assert min(loaded) > 1000


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_the_page_is_as_wide_as_the_window(report: Visit, width: int) -> None:
    report.page.set_viewport_size({"width": width, "height": 900})
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_first_ranking_starts_with_the_winner_and_has_no_grid(report: Visit) -> None:
    chart = report.page.locator("[data-name='gains/3-optimizer']")
    first, every = (
        [name for name in chart.nth(place).locator("text").all_text_contents() if "lr=" in name]
        for place in (0, 1)
    )
    assert first[0] == "rmsprop lr=0.0003 alpha=0.99"
    assert every[0] == "adam lr=0.001"  # as params.yaml lists them
    assert len(first) < len(every)


def test_a_chart_in_an_expanded_section_has_the_width_of_the_page(
    reported: Study, visit: Open
) -> None:
    page = visit(reported.root / "plots/report.html").page
    folded = page.locator("details:has(.chart)")
    folded.locator("> summary").click()
    page.wait_for_function(
        "document.querySelector('details .chart svg.marks').getBoundingClientRect().width > 1222"
    )
    assert folded.locator("svg.marks").bounding_box()["width"] <= 1232


def test_the_contents_link_to_every_section(report: Visit) -> None:
    parts = report.page.locator("main > p:has(a[href='#the-question']) a[href^='#']")
    assert parts.count() == report.page.locator("h2").count() == 10
    for place in range(parts.count()):
        target = parts.nth(place).get_attribute("href")
        assert report.page.locator(target).text_content() == parts.nth(place).text_content()


def test_no_chart_of_the_committed_study_is_clipped(visit: Open) -> None:
    page = visit(ROOT / "plots/report.html").page
    page.evaluate(
        "document.querySelectorAll('details:has(.chart)').forEach((part) => part.open = true)"
    )
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')]"
        ".every((chart) => chart.scrollWidth > 0 && chart.scrollWidth <= chart.clientWidth)"
    )
