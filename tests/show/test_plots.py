"""`dvc plots` of this repository, on a small study: every plot is filled, branches stay apart."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablation.show.report import DRAWINGS

REPOSITORY = Path(__file__).parents[2]
TECHNIQUES = ("scheduler", "activation", "optimizer", "batchnorm", "regularization", "dropout")


def dvc(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plots(root: Path, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("plots")
    shutil.copytree(root, folder, dirs_exist_ok=True)
    dvc("init", "--no-scm", "-q", folder=folder)
    shutil.copytree(REPOSITORY / ".dvc/plots", folder / ".dvc/plots")
    section = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["plots"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"plots": section}))
    return json.loads(dvc("plots", "show", "--json", folder=folder))


def test_every_plot_is_filled_without_an_error(plots: Any) -> None:
    assert "errors" not in plots
    assert "<DVC_METRIC" not in json.dumps(plots)


def test_every_picture_and_every_stage_has_its_plot(plots: Any) -> None:
    wanted = {f"plots/pictures/{name}.png" for name in DRAWINGS}
    wanted |= {f"{technique}-curves" for technique in ("baseline", *TECHNIQUES)}
    wanted |= {f"{technique}-gains" for technique in TECHNIQUES}
    assert wanted | {"chain", "leave-one-out", "test-confusion"} == set(plots["data"])


def test_curves_hold_both_models_and_keep_revisions_apart(plots: Any) -> None:
    spec = plots["data"]["optimizer-curves"][0]["content"]
    files = {row["filename"] for row in spec["data"]["values"]}
    assert files == {"mlp/optimizer/curves.csv", "cnn/optimizer/curves.csv"}
    assert spec["spec"]["encoding"]["color"]["field"] == "candidate"
    assert spec["spec"]["encoding"]["strokeDash"]["field"] == "rev"


def test_plot_names_can_be_ids_on_the_page(plots: Any) -> None:
    """The page looks its plots up by '#name': a name that starts with a digit stays empty."""
    named = [name for name in plots["data"] if not name.startswith("plots/")]
    assert all(re.fullmatch(r"[a-z][a-z-]*", name) for name in named)
