"""The documentation is correct: links work, commands exist, tables match the study."""

import argparse
import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any, get_args

import lint
import pandas as pd
import pytest
import tables
from ruamel.yaml import YAML

from ablation.base.checked import read_yaml
from ablation.base.files import write_csv
from ablation.cli import command_line
from ablation.data.datasets import DATASETS, LOOK_ALIKES
from ablation.params import PARAMS, Data, Params
from ablation.show.study import Study
from ablation.show.tables import kinds_of_errors
from ablation.trial.families import FAMILIES
from tests.clones import CHAIN, warm_python
from tests.committed import when_run

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
# The changelog is about the past, and the others name files that their readers will create.
PRESENT = [p for p in PAGES if p.name != "CHANGELOG.md" and not p.name.startswith("add-a-")]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"[a-z_]+(\.[a-z0-9_]+)+")
TOP = re.compile(r"(src|stages|tests|benchmarks|demo|docs|data|metrics|plots)/[\w./<>-]*")
PLACEHOLDERS = {
    "<m>": "mlp",
    "<model>": "mlp",
    "<t>": "scheduler",
    "<stage>": "scheduler",
    "<technique>": "scheduler",
    "<before>": "baseline",
    "<last>": "averaging_again",
    "<first>-<second>": "mlp-cnn",
}
ONE_STAGE = """
stages:
  numbers:
    cmd: mkdir -p metrics && grep -o [0-9] params.yaml > metrics/numbers.json
    deps: [params.yaml]
    outs: [{metrics/numbers.json: {cache: false}}]
"""
PROGRAMS = {
    *("make", "dvc", "git", "python", "ablation", "ruff", "mypy", "pytest", "dask"),
    *("cd", "cp", "mkdir", "source", "export"),
    "mutmut",
}


@cache
def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def in_prose(pattern: re.Pattern[str], pages: list[Path]) -> list[tuple[Path, str]]:
    """Matches of a pattern outside code blocks, with their page."""
    return [(page, found) for page in pages for found in pattern.findall(prose(page))]


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as on GitHub."""
    headings = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def commands() -> list[tuple[Path, list[str]]]:
    """The page and the words of every command line in shell blocks."""
    blocks = [(page, block) for page in PAGES for block in FENCED.findall(page.read_text())]
    lines = [
        (page, shlex.split(line, comments=True))
        for page, (language, block) in blocks
        if language in ("", "bash", "sh")
        for line in block.splitlines()
    ]
    return [(page, typed) for page, words in lines if (typed := without_variables(words))]


def without_variables(words: list[str]) -> list[str]:
    return [*dropwhile(re.compile("[A-Z_]+=").match, words)]


def calls(program: str) -> list[list[str]]:
    """The arguments of a program, wherever a page calls it."""
    found = [words[1:] for _, words in commands() if words[0] == program]
    assert found, f"no page calls {program}"
    return found


@cache
def dvc_commands(*group: str) -> str:
    """The output of `dvc --help`, cached because each call takes a second."""
    return subprocess.check_output(warm_python("-m", "dvc", *group, "--help"), text=True)


def dvc_knows(group: list[str], command: str) -> bool:
    """Whether a command is listed, possibly as a short form: `experiments (exp)`."""
    line = rf"^ +(\w+ \()?{re.escape(command)}\b"
    return re.search(line, dvc_commands(*group), re.MULTILINE) is not None


@cache
def study_outputs() -> set[str]:
    """Every output of every stage, for every family."""
    text = (ROOT / "dvc.yaml").read_text().replace("${stage}", "<t>")
    stages = YAML(typ="safe").load(text)["stages"].values()
    listed = [out for each in stages for out in each.get("outs", []) + each.get("metrics", [])]
    names = {out if isinstance(out, str) else next(iter(out)) for out in listed}
    return {
        name.replace("${item.model}", model).replace("<t>", stage)
        for name in names
        for model in FAMILIES
        for stage in CHAIN
    }


def is_written_by_a_stage(path: str) -> bool:
    """Whether a path is an output, or inside or above one."""
    parents = {str(parent) for parent in Path(path).parents}
    inside = f"{path.rstrip('/')}/"
    return any(
        out == path.rstrip("/") or out in parents or out.startswith(inside)
        for out in study_outputs()
    )


def names_of(content: dict[str, Any], before: str = "") -> Iterator[str]:
    """The dotted names of all keys of nested dictionaries."""
    for key, value in content.items():
        yield f"{before}{key}"
        if isinstance(value, dict):
            yield from names_of(value, f"{before}{key}.")


def params_names() -> set[str]:
    """The keys of params.yaml, including optional ones."""
    sections = Params.model_fields.items()
    may_be = {
        f"{section}.{key}"
        for section, field in sections
        for key in getattr(field.annotation, "model_fields", {})
    }
    return may_be | set(names_of(read_yaml(ROOT / PARAMS)))


def study_of(model: str, root: Path) -> Study:
    return Study(root, (model,), "glyphs", DATASETS["glyphs"])


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def test_links_point_to_existing_files_and_headings() -> None:
    links = [(page, link) for page, link in in_prose(LINK, PAGES) if not link.startswith("http")]
    assert len(links) > 100
    assert [(page.name, link) for page, link in links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if anchor:
        return target.exists() and anchor in anchors(target)
    return target.exists() or is_written_by_a_stage(os.path.relpath(target, ROOT))


def test_paths_in_prose_exist_or_a_stage_writes_them() -> None:
    paths = [(page, path) for page, path in in_prose(QUOTED, PRESENT) if TOP.fullmatch(path)]
    assert len(paths) > 100
    assert [(page.name, path) for page, path in paths if not is_a_path(path)] == []


def is_a_path(path: str) -> bool:
    for placeholder, example in PLACEHOLDERS.items():
        path = path.replace(placeholder, example)
    return (ROOT / path).exists() or is_written_by_a_stage(path)


def test_parameters_in_prose_are_in_params_yaml() -> None:
    known = params_names()
    named = [
        (page, name)
        for page, name in in_prose(QUOTED, PRESENT)
        if DOTTED.fullmatch(name) and name.partition(".")[0] in known
        if not name.endswith((".csv", ".json", ".py"))
    ]
    assert len(named) > 20
    assert [(page.name, name) for page, name in named if name not in known] == []


def test_every_command_uses_an_allowed_program() -> None:
    assert len(commands()) > 50
    assert [(page.name, words) for page, words in commands() if words[0] not in PROGRAMS] == []


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[0] for words in calls("make")} <= set(targets)


def test_dvc_commands_exist() -> None:
    groups = ("exp", "metrics", "plots", "params", "queue")
    typed = {(name, rest[0] if name in groups else "") for name, *rest in calls("dvc")}
    assert {name for name, _ in typed if not dvc_knows([], name)} == set()
    assert {(name, word) for name, word in typed if word and not dvc_knows([name], word)} == set()


def test_git_commands_exist() -> None:
    known = subprocess.check_output(["git", "--list-cmds=main"], text=True).split()
    assert {words[0] for words in calls("git")} <= set(known)


@pytest.mark.parametrize("program", ["python", "pytest"])
def test_files_given_to_python_and_pytest_exist(program: str) -> None:
    firsts = {words[0] for words in calls(program) if words}
    assert {first for first in firsts if first[0] != "-" and not (ROOT / first).exists()} == set()


def test_ablation_accepts_the_documented_arguments() -> None:
    for words in calls("ablation"):
        command_line().parse_args(words)


def test_every_option_of_ablation_is_documented() -> None:
    pages = [(ROOT / f"docs/{name}.md").read_text() for name in ("handwriting", "branches")]
    options = re.findall(r"--[a-z]+", "".join(each.format_help() for each in command_parsers()))
    assert {"--model", "--show", "--port"} <= set(options)
    unexplained = {name for name in options if not any(f"`{name}" in page for page in pages)}
    assert unexplained == {"--help"}


def command_parsers() -> Iterator[argparse.ArgumentParser]:
    for action in command_line()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def test_dask_options_exist() -> None:
    typed = {(kind, word) for kind, *words in calls("dask") for word in words if word[:2] == "--"}
    for kind in {kind for kind, _ in typed}:
        known = subprocess.check_output(warm_python("-m", "dask", kind, "--help"), text=True)
        assert {word for of, word in typed if of == kind} <= {*known.split()}


def test_set_param_names_a_key_of_params_yaml() -> None:
    """The key must be in the file, because DVC does not add keys."""
    named = {
        value.partition("=")[0]
        for words in calls("dvc")
        for option, value in pairwise(words)
        if option in ("-S", "--set-param")
    }
    assert named
    assert named <= set(names_of(read_yaml(ROOT / PARAMS)))


@when_run("report")
@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_tables_match_the_committed_study(page: Path) -> None:
    text = page.read_text()
    assert tables.renew(text, tables.study_in(ROOT)) == text, (
        "the study has changed: run `make docs`"
    )


def test_a_training_is_counted_once_in_the_stage_that_ran_it(tmp_path: Path) -> None:
    made = {"baseline": ["baseline"], "scheduler": ["constant", "cosine"], "leave_one_out": ["all"]}
    for stage, settings in made.items():
        rows = [{"setting": name, "train_seconds": 60, "precision": "bf16"} for name in settings]
        table = pd.DataFrame(rows).assign(computer="a" if stage == "baseline" else "b")
        write_csv(table, tmp_path / f"data/times/mlp/{stage}.csv")
    shutil.copy(tmp_path / "data/times/mlp/leave_one_out.csv", tmp_path / "data/times/mlp/fit.csv")
    chain = {"model": "mlp", "stage": ["baseline", "scheduler"]}
    write_csv(pd.DataFrame(chain), tmp_path / "plots/comparison/chain.csv")
    assert tables.TABLES["times"](study_of("mlp", tmp_path)).splitlines()[2:] == [
        "| baseline | 1 | 1.0 | a, bf16 |",
        "| scheduler | 1 | 1.0 | b, bf16 |",
        "| leave_one_out | 1 | 1.0 | b, bf16 |",
        "| fit | 1 | 1.0 | b, bf16 |",
        "| total | 4 | 4.0 | a, bf16; b, bf16 |",
    ]


def test_an_error_between_look_alikes_is_not_counted_as_a_case_error() -> None:
    pairs = ["Ff", "fF", "Aa", "gG", "g9", "A0", "AA"]
    predictions = pd.DataFrame([[*pair] for pair in pairs], columns=["actual", "predicted"])
    assert [*kinds_of_errors(predictions, LOOK_ALIKES).values()] == [3, 2, 1, 6]


def test_every_table_is_used_on_a_page() -> None:
    used = {
        name for page in tables.pages() for _, name, _ in tables.BLOCK.findall(page.read_text())
    }
    assert used == tables.TABLES.keys()


def test_every_block_is_closed() -> None:
    for page in tables.pages():
        text = page.read_text()
        assert text.count("<!-- table:") == len(tables.BLOCK.findall(text)), page.name


def test_a_table_is_replaced_between_its_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.TABLES, "toy", lambda study: f"| {study.root} |")
    text = "before\n<!-- table: toy -->\nold\n<!-- end -->\nafter\n"
    renewed = "before\n<!-- table: toy -->\n| x |\n<!-- end -->\nafter\n"
    assert tables.renew(text, study_of("mlp", Path("x"))) == renewed


def test_the_readme_links_every_page_of_the_documentation() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_contributing_links_every_page_for_maintainers() -> None:
    linked = LINK.findall((ROOT / "CONTRIBUTING.md").read_text())
    pages = (ROOT / "docs/maintainers").glob("*.md")
    assert {f"docs/maintainers/{page.name}" for page in pages} <= {*linked}


def test_the_newest_version_in_the_changelog_is_the_projects() -> None:
    versions = re.findall(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == version()


def test_the_citations_version_is_the_projects() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == version()


def test_architecture_names_every_stage() -> None:
    later = re.compile(r"_again\d*$")
    stages = {later.sub("", stage) for stage in read_yaml(ROOT / "dvc.yaml")["stages"]}
    assert stages <= set(QUOTED.findall((ROOT / "docs/maintainers/architecture.md").read_text()))


def test_architecture_names_every_package_and_module() -> None:
    package = ROOT / "src/ablation"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert rooms | modules <= set(
        QUOTED.findall((ROOT / "docs/maintainers/architecture.md").read_text())
    )


def test_every_promise_has_existing_tests_in_the_stated_suites() -> None:
    page = (ROOT / "docs/maintainers/promises.md").read_text()
    for promise in re.split("^- ", page, flags=re.MULTILINE)[1:]:
        named = re.findall(r"^  - `(.+)::(\w+)`( .+)?$", promise, re.MULTILINE)
        assert named, promise
        for file, test, said in named:
            marks = "".join(f" *({mark})*" for mark in suites(ROOT / file, test))
            assert said == marks, f"{file}::{test}: {said} on the page, {marks} in the file"


def suites(file: Path, test: str) -> list[str]:
    """The marks of a test that the page of promises explains."""
    body = statements_of(file)
    found = [each for each in body if isinstance(each, ast.FunctionDef) and each.name == test]
    assert found, f"{file}::{test}: no such test"
    of_module = [each for each in body if ast.unparse(each).startswith("pytestmark =")]
    marks = [ast.unparse(each) for each in (*of_module, *found[0].decorator_list)]
    whole = " ".join(each for each in marks if "parametrize" not in each)
    return [mark for mark in ("deep", "faults", "real") if re.search(rf"\b{mark}\b", whole)]


@cache
def statements_of(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text()).body


def test_the_glossary_has_the_terms_used_on_the_pages() -> None:
    words = {
        *("technique", "candidate", "recipe", "incumbent", "repeat", "trial", "score", "verdict"),
        *("stage", "champion", "racing", "leave-one-out", "paired", "interval", "setting"),
        *("baseline", "chain", "collapsed", "diverged", "family", "data set", "cache"),
    }
    rows = (ROOT / "docs/glossary.md").read_text().splitlines()
    assert words <= {row.split(" | ")[0].removeprefix("| ") for row in rows}


def test_the_linter_reports_what_to_fix_on_a_page(tmp_path: Path) -> None:
    (tmp_path / "docs/maintainers").mkdir(parents=True)
    (tmp_path / "README.md").write_text("x\n" * 121)
    (tmp_path / "docs/long.md").write_text(
        "word " * 12_000 + "\n<!-- table: toy -->\n| generated |\n<!-- end -->\n```\ncode\n```\n"
    )
    (tmp_path / "docs/maintainers/depth.md").write_text("word " * 12_000)
    rows = "".join(f"| {word} | meaning |\n" for word in ("word", "trial", "score", "verdict"))
    (tmp_path / "docs/glossary.md").write_text(rows)
    assert [*lint.complaints(tmp_path)] == [
        "README.md: 121 lines, 120 at most; move some to docs/",
        "README.md and docs/: 12,129 words, 12,000 at most; shorten them, or move what only "
        "maintainers need to docs/maintainers/",
        "docs/glossary.md: 'score' comes after 'trial'; sort the words",
    ]


def test_every_key_of_the_metrics_is_documented() -> None:
    page = (ROOT / "docs/numbers.md").read_text()
    columns = page[page.index("| column |") : page.index("## What is absent")]
    firsts = re.findall(r"^\| (`.+?) \|", columns, re.MULTILINE)
    explained = set(QUOTED.findall("\n".join(firsts)))
    files = [*(ROOT / "metrics").rglob("*.json")]
    assert {key for path in files for key in json.loads(path.read_text())} == explained


def test_every_column_of_the_tables_is_documented() -> None:
    explained = set(QUOTED.findall((ROOT / "docs/numbers.md").read_text()))
    # Charts are made from the other tables, for a browser; a family's column has its name.
    files = [path for path in (ROOT / "plots").rglob("*.csv") if "charts" not in path.parts]
    for path in [*files, *(ROOT / "data/times").rglob("*.csv")]:
        with path.open() as file:
            columns = set(file.readline().strip().split(","))
        assert columns - FAMILIES.keys() <= explained, path


@pytest.mark.deep
def test_two_branches_merge_as_documented(tmp_path: Path) -> None:
    """Runs the page's commands with real git and DVC, on a pipeline of one quick stage."""
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    (tmp_path / "params.yaml").write_text("first: 1\n\n\n\nsecond: 1\n")
    (tmp_path / "dvc.yaml").write_text(ONE_STAGE)
    run = Shell(tmp_path)
    run("git", "init", "--quiet", "--initial-branch", "main")
    run("dvc", "init", "--quiet")
    run.reproduce_and_commit()
    run.on_a_branch("mine", "first: 1", "first: 2")
    run.on_a_branch("theirs", "second: 1", "second: 3")
    run("git", "switch", "--quiet", "mine")

    for words in merge_recipe():
        run(*words, may_fail=words[:2] == ["git", "merge"])
    assert (tmp_path / "metrics/numbers.json").read_text() == "2\n3\n"
    assert "up to date" in run("dvc", "status")
    assert run("git", "status", "--porcelain") == ""


def merge_recipe() -> Iterator[list[str]]:
    """The commands below the page's heading, with this test's branch."""
    page = (ROOT / "docs/branches.md").read_text()
    block = FENCED.search(page, page.index("## Merge two branches"))
    assert block
    for line in block[2].splitlines():
        words = ["theirs" if word == "other" else word for word in shlex.split(line)]
        yield words


class Shell:
    """Runs commands in a folder, as a git user without configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_EDITOR": "true",
            **{f"GIT_{who}_NAME": "Test" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "test@example.org" for who in ("AUTHOR", "COMMITTER")},
        }

    def __call__(self, *command: str, may_fail: bool = False) -> str:
        if command[0] == "dvc":
            command = warm_python("-m", *command)
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert may_fail or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def reproduce_and_commit(self) -> None:
        self("dvc", "repro", "--quiet")
        self("git", "add", "--all")
        self("git", "commit", "--quiet", "--message", "A study")

    def on_a_branch(self, name: str, before: str, after: str) -> None:
        """A branch of main with one changed parameter and its results."""
        self("git", "switch", "--quiet", "--create", name, "main")
        params = self.folder / "params.yaml"
        params.write_text(params.read_text().replace(before, after))
        self.reproduce_and_commit()


def test_every_data_set_is_documented_with_its_numbers() -> None:
    page = (ROOT / "docs/your-own-data.md").read_text()
    rows = dict(re.findall(r"^\| ((?:`[\w.-]+`(?:, )?)+) \| (.+)$", page, re.MULTILINE))
    named = {name: row for names, row in rows.items() for name in QUOTED.findall(names)}
    for name, dataset in DATASETS.items():
        if size := dataset.size:
            images, classes, *_ = named[name].split(" | ")
            assert images.startswith(f"{size.training:,} and ")
            assert classes == str(size.classes)
    optional = {
        f"data.{key}" for key, field in Data.model_fields.items() if not field.is_required()
    }
    assert optional <= named.keys()
    assert {*get_args(Data.model_fields["conversion"].annotation)} <= named.keys()
