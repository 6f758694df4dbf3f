"""The pages of `dvc plots show` and `diff`, opened from disk in a browser without network."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.show.conftest import Open, Visit

pytestmark = pytest.mark.browser
MARKS = ".mark-symbol path, .mark-rule line, .mark-line path, .mark-rect path"


@pytest.fixture(scope="module")
def shown(repository: Path, dvc: Callable[..., str], visit: Open) -> Visit:
    dvc("plots", "show", folder=repository)
    return visit(repository / "dvc_plots/index.html")


@pytest.fixture(scope="module")
def compared(repository: Path, dvc: Callable[..., str], visit: Open) -> Visit:
    dvc("plots", "diff", "main", "-o", "compared", folder=repository)
    return visit(repository / "compared/index.html")


def chart(name: str) -> str:
    return f"[id='plots_charts_{name}_csv']"


def test_every_chart_has_marks_in_each_panel(shown: Visit) -> None:
    charts = shown.page.locator("[id^=plots_charts_]")
    assert charts.count() == 17
    for place in range(charts.count()):
        panels = charts.nth(place).locator(".mark-group.cell > g")
        assert panels.count() == 3
        for panel in range(3):
            assert panels.nth(panel).locator(MARKS).count() > 0


@pytest.mark.parametrize("which", ["shown", "compared"])
def test_the_page_logs_nothing_and_needs_no_network(
    which: str, request: pytest.FixtureRequest
) -> None:
    visit = request.getfixturevalue(which)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith("file:")] == []


def test_a_page_written_elsewhere_draws_its_charts(
    repository: Path, dvc: Callable[..., str], visit: Open, tmp_path: Path
) -> None:
    dvc("plots", "show", "plots/charts/chain.csv", "-o", str(tmp_path / "far"), folder=repository)
    page = visit(tmp_path / "far/index.html").page
    assert page.locator(f"{chart('chain')} .mark-symbol path").count() > 0


def test_charts_show_title_and_panels_and_the_page_the_note(shown: Visit, study: Any) -> None:
    place = chart("gains_3-optimizer")
    titles = shown.texts(f"{place} .role-title-text text")
    assert sorted(titles) == ["CNN", "MLP", "Optimizer: gain over the incumbent", "RNN"]
    assert shown.texts(".note") == [study.note]


def test_the_charts_of_a_stage_stand_together_in_the_order_of_the_chain(shown: Visit) -> None:
    names = shown.page.evaluate("[...document.querySelectorAll('[id$=_csv]')].map((e) => e.id)")
    assert [name.removeprefix("plots_charts_").removesuffix("_csv") for name in names[:6]] == [
        "chain", "curves_0-baseline", "gains_1-scheduler", "curves_1-scheduler",
        "gains_2-activation", "curves_2-activation",
    ]  # fmt: skip


def test_what_two_revisions_share_is_folded(
    repository: Path, dvc: Callable[..., str], visit: Open, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    chart = copy / "plots/charts/gains/3-optimizer.csv"
    chart.write_text(chart.read_text().replace("winner", "candidate"))
    dvc("plots", "diff", "HEAD", "-o", "d", folder=copy)
    page = visit(copy / "d/index.html").page
    folded = page.locator("summary").all_text_contents()
    assert folded == ["The same in all revisions: 16 of 17 charts", "Pictures"]
    assert page.locator("[id$=_csv] svg.marks").count() == 1


def test_the_incumbent_is_the_first_row_and_a_collapse_is_labelled(shown: Visit) -> None:
    place = chart("gains_2-activation")
    rows = shown.texts(f"{place} .role-axis-label text")
    assert rows[rows.index("relu") :][:3] == ["relu", "leaky_relu", "elu"]
    assert shown.texts(f"{place} text").count("collapsed") == 3


def test_panels_are_in_the_order_of_the_families(shown: Visit) -> None:
    titles = shown.page.locator(f"{chart('chain')} .cell .role-title-text text")
    places = {
        title.text_content(): (round(box["y"], -1), box["x"])
        for title in titles.all()
        for box in [title.bounding_box()]
    }
    assert sorted(places, key=places.__getitem__) == ["MLP", "CNN", "RNN"]


def test_charts_use_the_width_of_the_page(shown: Visit) -> None:
    for name in ("chain", "gains_3-optimizer", "curves_0-baseline"):
        width = shown.page.locator(f"{chart(name)} svg.marks").bounding_box()["width"]
        assert 1222 < width <= 1232


def test_a_picture_has_a_readable_title(shown: Visit) -> None:
    names = shown.page.locator("[id^=plots_pictures_] > p:first-child").all_text_contents()
    assert "Worst RNN" in names
    assert not [name for name in names if "/" in name or "_" in name or "." in name]


def test_the_mouse_wheel_over_a_chart_scrolls_the_page(shown: Visit) -> None:
    box = shown.page.locator(f"{chart('chain')} svg.marks").bounding_box()
    shown.page.mouse.move(box["x"] + 200, box["y"] + 100)
    shown.page.mouse.wheel(0, 300)
    shown.page.wait_for_function("window.scrollY > 0")


def test_the_page_begins_with_a_description_and_a_link_to_the_report(shown: Visit) -> None:
    first, second = (shown.page.locator("body > p:not(.note)").nth(place) for place in (0, 1))
    assert "Which training techniques help" in first.text_content()
    link = second.locator("a").evaluate("(link) => link.href")
    assert link == shown.page.url.replace("dvc_plots/index.html", "plots/report.html")


def test_each_of_two_revisions_has_a_colour_and_a_legend_entry(compared: Visit) -> None:
    for name in ("chain", "gains_3-optimizer", "curves_3-optimizer"):
        legend = compared.texts(f"{chart(name)} .role-legend-label text")
        assert legend == ["main", "workspace"]
    lines = compared.page.locator(f"{chart('curves_3-optimizer')} .mark-line path")
    colours = {lines.nth(place).get_attribute("stroke") for place in range(lines.count())}
    assert lines.count() == 6  # a winner of each revision in each panel
    assert colours == {"#0072b2", "#d55e00"}


def test_one_revision_needs_no_legend(shown: Visit) -> None:
    assert shown.texts(f"{chart('curves_3-optimizer')} .role-legend-label text") == []
