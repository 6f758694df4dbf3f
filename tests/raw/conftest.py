import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml, to_yaml
from tests.clones import Clone, warm_python

ROOT = Path(__file__).parents[2]
Prepare = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def prepare() -> Prepare:
    """Runs the stage in a folder, on a data set, without network access."""
    return run_prepare


@pytest.fixture(scope="session")
def prepared_glyphs(prepared: Clone) -> tuple[Path, str]:
    """The folder in which the stage prepared the glyphs, and its output."""
    return prepared.path, (prepared.path.parent / "prepare.log").read_text()


def run_prepare(folder: Path, dataset: str, **data: object) -> subprocess.CompletedProcess[str]:
    params = read_yaml(ROOT / "params.yaml")
    params["data"] = {"dataset": dataset, "raw": "data/raw", **data}
    (folder / "params.yaml").write_text(to_yaml(params))
    nobody = "http://127.0.0.1:9"  # no network
    extra = {"PYTHONPATH": str(ROOT / "src"), "https_proxy": nobody, "http_proxy": nobody}
    command = warm_python(str(ROOT / "stages" / "prepare.py"))
    return subprocess.run(
        command, cwd=folder, env=os.environ | extra, capture_output=True, text=True, check=False
    )
