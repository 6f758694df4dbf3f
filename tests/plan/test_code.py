"""The digests of each stage's code: what they cover, and what changes them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ablation.base.errors import UserError
from ablation.plan.code import DIGESTS, TEMPLATES, stage_digests
from tests.clones import warm_python
from tests.conftest import ROOT

STAGES = [path.stem for path in sorted((ROOT / "stages").glob("*.py"))]
# Imports a stage's script without running it, and prints the modules of this project.
IMPORTED = """
import json, runpy, sys
runpy.run_path(sys.argv[1], run_name="imported")
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(json.dumps([file for file in files if "src/ablation" in file]))
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed_by(edits: dict[str, tuple[str, str]]) -> dict[str, set[str]]:
    """The files whose digests change with edits (old text, new text), by the script's name."""
    before = stage_digests()
    for name, (old, new) in edits.items():
        text = Path(name).read_text()
        assert old in text
        Path(name).write_text(text.replace(old, new, 1))
    after = stage_digests()
    return {
        path.stem: {line.split()[0] for line in {*after[path].splitlines()} - lines}
        for path in after
        if (lines := {*before[path].splitlines()}) != {*after[path].splitlines()}
    }


def test_the_committed_digests_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise run `dvc repro code`, and commit data/code and dvc.lock."""
    monkeypatch.chdir(ROOT)
    committed = {path.relative_to(ROOT): path.read_text() for path in (ROOT / DIGESTS).iterdir()}
    assert committed == stage_digests()


@pytest.mark.parametrize("script", STAGES)
def test_the_digests_cover_every_module_that_a_script_imports(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """According to Python's imports at run time, not to the source."""
    program = tmp_path / "imported.py"
    program.write_text(IMPORTED)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    printed = subprocess.check_output(
        warm_python(str(program), f"stages/{script}.py"), cwd=ROOT, text=True
    )
    imported = {str(Path(file).relative_to(ROOT)) for file in json.loads(printed)}
    listed = (ROOT / DIGESTS / f"{script}.txt").read_text().splitlines()
    assert len(imported) > 10
    assert imported <= {line.split()[0] for line in listed}


@pytest.mark.usefixtures("source")
def test_comments_docstrings_and_messages_of_errors_change_no_digest() -> None:
    edits = {
        "src/ablation/judge/selection.py": ("\nimport", "\n# a comment\nimport"),
        "src/ablation/judge/noise.py": ('"""', '"""Another docstring. '),
        "src/ablation/raw/folder.py": ("raise DataError(", 'raise DataError("Oh! " + '),
    }
    assert changed_by(edits) == {}


@pytest.mark.usefixtures("source")
def test_code_changes_the_digests_of_the_scripts_that_run_it() -> None:
    edited = ("\nimport", "\nX = 1\nimport")
    edits = {
        "requirements.lock": ("\n", "\n\n"),
        "src/ablation/processes/fork_server.py": edited,
        "src/ablation/judge/selection.py": edited,
        "src/ablation/pictures/page.py": edited,
        "src/ablation/raw/mnist.py": edited,  # found by its name in the table of data sets
        "src/ablation/show/report.css": ("{", "{ "),
        "src/ablation/use/draw.py": edited,  # no stage runs it
        "stages/fit.py": ("\nfrom", "\nX = 1\nfrom"),
    }
    every_script = {"requirements.lock", "src/ablation/processes/fork_server.py"}
    assert changed_by(edits) == dict.fromkeys(STAGES, every_script) | {
        "contest": {*every_script, "src/ablation/judge/selection.py"},
        "technique": {*every_script, "src/ablation/judge/selection.py"},
        "leave_one_out": {*every_script, "src/ablation/judge/selection.py"},
        "prepare": {*every_script, "src/ablation/pictures/page.py", "src/ablation/raw/mnist.py"},
        "report": {*every_script, "src/ablation/show/report.css"},
        "search_report": {*every_script, "src/ablation/show/report.css"},
        "fit": {*every_script, "stages/fit.py"},
    }


def test_every_file_beside_the_modules_is_covered() -> None:
    listed = subprocess.check_output(["git", "ls-files", "src"], cwd=ROOT, text=True).split()
    assert {Path(name).suffix for name in listed} == {".py", *TEMPLATES}


def test_code_that_is_not_python_is_an_error(source: Path) -> None:
    path = source / "src/ablation/judge/noise.py"
    path.write_text("first = 1\nsecond = (\n")
    with pytest.raises(UserError, match=r"src/ablation/judge/noise\.py:2: .*; correct it"):
        stage_digests()
