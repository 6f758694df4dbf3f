"""`dvc plots` of this repository, on a small study: all plots have data, in reading order."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.show.study import Study

REPOSITORY = Path(__file__).parents[2]
CHAIN = [
    "1-scheduler", "2-activation", "3-optimizer", "4-batchnorm", "5-regularization", "6-dropout"
]  # fmt: skip


@pytest.fixture(scope="module")
def plots(repository: Path, dvc: Callable[..., str]) -> Any:
    return json.loads(dvc("plots", "show", "--json", folder=repository))


def test_every_plot_has_data(plots: Any) -> None:
    assert "errors" not in plots
    assert "<DVC_METRIC" not in json.dumps(plots)


def test_the_plots_are_in_the_order_of_the_study(plots: Any) -> None:
    charts = [name.removeprefix("plots/charts/") for name in plots["data"] if "charts" in name]
    assert charts == [
        "chain.csv",
        *(f"curves/{stage}.csv" for stage in ["0-baseline", *CHAIN]),
        *(f"gains/{stage}.csv" for stage in CHAIN),
        "leave_one_out.csv",
        "shares.csv",
        "confusion.csv",
    ]


def test_pictures_of_charts_are_not_shown_beside_them(
    plots: Any, pictures: list[Path], study: Study
) -> None:
    shown = {name for name in plots["data"] if "pictures" in name}
    every = {path.relative_to(study.root).as_posix() for path in pictures}
    assert {Path(name).stem for name in every - shown} == {
        "accuracy_chain", "leave_one_out", "shares", *(f"confusion_{m}" for m in study.models)
    }  # fmt: skip
    assert shown < every


def test_the_plots_section_names_no_technique_and_no_family(study: Study) -> None:
    section = to_yaml(read_yaml(REPOSITORY / "dvc.yaml")["plots"])
    assert not [name for name in (*study.techniques(), *study.models) if name in section]


def test_titles_are_not_file_names(plots: Any) -> None:
    spec = plots["data"]["plots/charts/gains/3-optimizer.csv"][0]["content"]
    assert spec["title"]["text"] == {"expr": "data('rows')[0].title"}
    titles = {row["title"] for row in spec["data"]["values"]}
    assert titles == {"Optimizer: gain over the incumbent"}


def test_a_chart_holds_all_models(plots: Any, study: Study) -> None:
    rows = plots["data"]["plots/charts/curves/3-optimizer.csv"][0]["content"]["data"]["values"]
    assert {row["model"] for row in rows} == {model.upper() for model in study.models}


@pytest.mark.parametrize("name", ["chain", "confusion", "curves", "gains"])
def test_the_mouse_wheel_is_not_bound_to_charts(name: str) -> None:
    assert '"bind"' not in (REPOSITORY / f".dvc/plots/{name}.json").read_text()
