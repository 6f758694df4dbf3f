import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from dvc.api import params_show  # type: ignore[import-untyped]
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]

from ablation.base.checked import Checked, ParamsError, load, read_yaml, save
from ablation.run.precision import RECORD, Record
from ablation.trial.recipe import Recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.relative_to(ROOT) for path in ROOT.glob("data/recipes/*/*.yaml"))
REMEDY = "correct it, or quote it as a string"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    Repo.init(str(folder), no_scm=True).close()
    return folder


def as_dvc_reads(text: str, repository: Path) -> Any:
    (repository / "params.yaml").write_text(text)
    return params_show(repo=str(repository))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-05", 1e-5),
        ("1.0e-5", 1e-5),
        ("'1e-05'", "1e-05"),
        ("0123", 123),
        ("0o17", 15),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),
        (".inf", math.inf),
        ("~", None),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("2026-11-26", date(2026, 11, 26)),
        ("2026-11-26 10:00:00", datetime(2026, 11, 26, 10)),
        ("!!set {a, b}", {"a", "b"}),
        ("{<<: {b: 1, c: 2}, b: 3}", {"b": 3, "c": 2}),
    ],
)
def test_values_are_parsed_as_dvc_parses_them(
    written: str, value: object, repository: Path
) -> None:
    by_dvc = as_dvc_reads(f"a: {written}\n", repository)["a"]
    found = read_yaml(repository / "params.yaml")["a"]
    assert found == by_dvc == value
    assert type(found) is type(by_dvc) is type(value)


def test_the_projects_params_are_parsed_as_dvc_parses_them(repository: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert read_yaml(ROOT / "params.yaml") == as_dvc_reads(text, repository)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", 'line 2, column 1: found duplicate key "a"; keep one'),
        ("a: {b: 1, 'b': 2}", 'line 1, column 11: found duplicate key "b"; keep one'),
        (
            "a: [1\n",
            "line 2, column 1: expected ',' or ']', but got '<stream end>'; correct it, or "
            "`git checkout params.yaml` restores the committed version",
        ),
    ],
)
def test_yaml_that_dvc_cannot_read_is_an_error_with_position_and_remedy(
    text: str, said: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DvcException):
        as_dvc_reads(text, repository)
    monkeypatch.chdir(repository)
    with pytest.raises(ParamsError) as error:
        read_yaml(Path("params.yaml"))
    assert str(error.value) == f"params.yaml: invalid YAML: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 2001-99-99", "line 1, column 4: '2001-99-99' is not a valid timestamp"),
        ("a:\n- {b: !!int x}", "line 2, column 7: 'x' is not a valid int"),
        ("a: !!bool maybe", "line 1, column 4: 'maybe' is not a valid bool"),
        ("a: !!float ''", "line 1, column 4: '' is not a valid float"),
    ],
)
def test_an_error_names_a_value_that_cannot_be_constructed(
    text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError) as error:
        read_yaml(tmp_path / "params.yaml")
    assert str(error.value) == f"{tmp_path}/params.yaml: invalid YAML: {said}; {REMEDY}"


@pytest.mark.parametrize("name", [*RECIPES, RECORD], ids=str)
def test_saving_a_committed_file_gives_the_same_bytes(name: Path, tmp_path: Path) -> None:
    model = Record if name == RECORD else Recipe
    text = (ROOT / name).read_text()
    comment = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")]
    save(load(ROOT / name, model), tmp_path / "saved.yaml", "\n".join(comment))
    assert (tmp_path / "saved.yaml").read_text() == text


@pytest.mark.parametrize("value", [1e-5, -1e-5, 1e22, 1.5e-7, 0.1, 1.0, 0.0])
def test_a_number_survives_a_round_trip_in_both_versions_of_yaml(
    value: float, tmp_path: Path
) -> None:
    save(Number(value=value), path := tmp_path / "number.yaml", "")
    assert load(path, Number).value == value
    path.write_text(f"%YAML 1.1\n---\n{path.read_text()}")
    assert load(path, Number).value == value


@pytest.mark.parametrize("value", ["off", "0o17", "1e-5", "~", "2026-11-26", "a: b", "#", "é", ""])
def test_a_string_survives_a_round_trip(value: str, tmp_path: Path) -> None:
    save(Word(value=value), tmp_path / "word.yaml", "")
    assert load(tmp_path / "word.yaml", Word).value == value


class Number(Checked):
    value: float


class Word(Checked):
    value: str
