"""What a branch changed is told with its noise, from files in git alone."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.base.files import read_csv, write_csv
from ablation.diff.changes import Change
from ablation.diff.tell import Difference, as_json, as_markdown, as_tables, compare_with, sentences
from ablation.judge.noise import corrected_interval
from tests.diff.conftest import ROOT, Repository

CLEAR = [0.010, 0.011, 0.009, 0.012, 0.008]


def of(found: Difference, stage: str, model: str = "mlp") -> Change:
    (change,) = (each for each in found.changes if (each.model, each.stage) == (model, stage))
    return change


def test_what_has_not_changed_is_unchanged(study: Repository) -> None:
    found = compare_with("main")
    assert {change.word for change in found.changes} == {"unchanged"}
    assert found.new == found.gone == []
    assert sentences(found) == ["Nothing changed: the winner of every stage has the same scores."]


def test_every_stage_stands_in_the_order_of_the_chain(study: Repository) -> None:
    stages = [change.stage for change in compare_with("main").changes if change.model == "cnn"]
    assert stages[:2] == ["baseline", "scheduler"]
    assert stages.index("augmentation") < stages.index("architecture")
    assert stages[-3:] == ["epochs", "leave_one_out", "test"]


def test_a_clear_gain_is_real(study: Repository) -> None:
    study.another_winner(CLEAR)
    found = compare_with("main")
    change = of(found, "dropout")
    assert change.real and change.word == "better"
    assert (change.before.winner, change.after.winner) == ("0.2", "0.6")  # type: ignore[union-attr]
    assert change.gain == pytest.approx(0.010)
    assert 0 < change.low < 0.010 < change.high
    assert change.repeats == 5
    assert [each.stage for each in found.real] == ["dropout"]
    assert sentences(found)[0].startswith(
        "Real changes, in percentage points with 95 % intervals: dropout of the MLP +1.00 (+"
    )


def test_its_noise_is_that_of_all_contenders(study: Repository) -> None:
    study.another_winner([0.012, -0.008, 0.010, -0.006, 0.004])
    change = of(compare_with("main"), "dropout")
    alone = corrected_interval(np.array([0.012, -0.008, 0.010, -0.006, 0.004]), 0.15 / 0.85, 0.95)
    assert change.word == "within the noise" and not change.real
    assert change.high - change.low < 0.95 * (alone[1] - alone[0])


def test_a_difference_too_small_to_matter_is_practically_equal(study: Repository) -> None:
    study.params("selection", equal_within=0.05)
    study.another_winner(CLEAR)
    assert of(compare_with("main"), "dropout").word == "practically equal"


def test_new_candidates_come_with_what_was_found_of_them(study: Repository) -> None:
    study.another_winner(CLEAR)
    study.git("checkout", "--quiet", "-b", "more")
    study.git("commit", "--quiet", "--all", "--message", "A dropout of 0.6")
    (new,) = compare_with("main").new
    assert (new.stage, new.setting, new.finding, new.wins) == ("dropout", "0.6", "better", True)
    study.git("checkout", "--quiet", "main")
    found = compare_with("more")
    assert found.new == []
    assert [each.setting for each in found.gone] == ["0.6"]
    assert of(found, "dropout").word == "worse"


def test_the_same_recipe_on_another_machine_is_no_real_change(study: Repository) -> None:
    """README's example on another processor: the incumbent moved by 0.36 points for that alone."""
    moved = [0.004, 0.003, 0.0036, 0.0039, 0.0035]

    def move(trials: pd.DataFrame) -> None:
        trials.loc[trials["setting"] == "0.2", "score"] += moved

    study.table("plots/mlp/dropout/trials.csv", move)
    assert of(compare_with("main"), "dropout").real
    study.table(
        "data/times/mlp/dropout.csv", lambda times: times.__setitem__("computer", "Another CPU")
    )
    found = compare_with("main")
    change = of(found, "dropout")
    assert (change.word, change.apart, change.real) == ("computed otherwise", ("machine",), False)
    assert change.gain == pytest.approx(0.0036)
    no, machine, advice = sentences(found)
    assert no == "No change was shown to be real."
    assert machine == ("Not computed alike: machine (Intel(R) Xeon(R) Processor, now Another CPU).")
    assert "`dvc repro` for both on one machine" in advice


def test_a_difference_of_recipes_that_were_computed_apart_is_not_called_real(
    study: Repository,
) -> None:
    study.another_winner(CLEAR)
    lock = study.path / "requirements.lock"
    lock.write_text(lock.read_text().replace("numpy==", "numpy==9."))
    found = compare_with("main")
    change = of(found, "dropout")
    assert (change.word, change.apart, change.real) == ("better", ("libraries",), False)
    assert "| better, but not computed alike | no: libraries |" in as_markdown(found)


@pytest.mark.parametrize(("line", "apart"), [("# a comment\n", ()), ("X = 1\n", ("code",))])
def test_code_is_other_code_where_python_reads_it_otherwise(
    line: str, apart: tuple[str, ...], study: Repository
) -> None:
    with (study.path / "src/ablation/trial/training.py").open("a") as file:
        file.write(line)
    assert of(compare_with("main"), "dropout").apart == apart


def test_other_epochs_make_another_training_of_the_same_recipe(study: Repository) -> None:
    study.params("models", mlp={"hidden": [512, 256, 128], "epochs": 13})
    study.table("data/times/mlp/baseline.csv", lambda times: times.__setitem__("computer", "Other"))

    def move(trials: pd.DataFrame) -> None:
        trials["score"] += CLEAR

    study.table("plots/mlp/baseline/trials.csv", move)
    assert of(compare_with("main"), "baseline").word == "better"


@pytest.mark.parametrize(
    ("section", "value"), [("validation", {"fraction": 0.2}), ("data", {"dataset": "kmnist"})]
)
def test_studies_of_other_repeats_do_not_compare(
    section: str, value: dict[str, object], study: Repository
) -> None:
    study.params(section, **value)
    change = of(compare_with("main"), "scheduler")
    assert change.word == "not comparable"
    assert math.isnan(change.gain)


def test_more_repeats_are_compared_on_those_that_both_ran(study: Repository) -> None:
    study.params("validation", repeats=3)
    study.another_winner(CLEAR)

    trials = read_csv(study.path / "plots/mlp/dropout/trials.csv")
    write_csv(trials[trials["repeat"] < 3], study.path / "plots/mlp/dropout/trials.csv")
    change = of(compare_with("main"), "dropout")
    assert change.repeats == 3
    assert change.gain == pytest.approx(0.010)


def test_leave_one_out_compares_the_final_recipes_on_fresh_repeats(study: Repository) -> None:
    def move(trials: pd.DataFrame) -> None:
        last = trials["recipe"].iloc[-1]
        trials.loc[trials["recipe"] == last, "score"] -= CLEAR

    study.table("plots/mlp/leave_one_out/trials.csv", move)
    change = of(compare_with("main"), "leave_one_out")
    assert change.word == "worse" and change.real
    assert change.gain == pytest.approx(-0.010)
    assert change.after.winner.startswith("scheduler + optimizer")  # type: ignore[union-attr]


def test_the_test_compares_all_fits_of_the_final_recipes(study: Repository) -> None:
    def worsen(right: pd.DataFrame) -> None:
        for seed in (1, 2, 3):
            right.loc[:500, f"final {seed}"] = 0

    study.table("plots/cnn/test/right.csv", worsen)
    change = of(compare_with("main"), "test", "cnn")
    assert change.word == "worse" and change.repeats == 3
    assert change.low < change.gain < change.high < 0


def test_other_test_characters_do_not_compare(study: Repository) -> None:
    study.table("plots/cnn/test/predictions.csv", lambda t: t.__setitem__("actual", "A"))
    assert of(compare_with("main"), "test", "cnn").word == "not comparable"


def test_a_stage_that_one_side_lacks_is_new_or_gone(study: Repository) -> None:
    for file in (study.path / "plots/mlp/epochs").iterdir():
        file.unlink()
    (study.path / "metrics/mlp/epochs.json").unlink()
    change = of(compare_with("main"), "epochs")
    assert (change.word, change.after) == ("gone", None)
    study.git("commit", "--quiet", "--all", "--message", "Without epochs")
    study.git("checkout", "--quiet", "HEAD~1")
    assert of(compare_with("main"), "epochs").word == "new"


def test_markdown_is_a_heading_what_is_real_and_a_table(study: Repository) -> None:
    study.another_winner(CLEAR)
    text = as_markdown(compare_with("main"))
    assert text.startswith("### What changed since `main`\n\n- Real changes")
    (row,) = (line for line in text.splitlines() if line.startswith("| MLP | dropout | 0.2"))
    assert "| 0.6: 84.99 % | +1.00 (+" in row and row.endswith("| yes, better | yes |")
    assert "New candidates:\n\n| family | stage |" in text
    assert "| MLP | dropout | 0.6 | +1.00 (+0.10 to +2.00) | 5 | better, winner |" in text


def test_json_has_fractions_and_leaves_out_what_is_not_known(study: Repository) -> None:
    study.another_winner(CLEAR)
    content = json.loads(as_json(compare_with("main")))
    assert list(content) == ["revision", "apart", "changes", "new", "gone"]
    (change,) = (each for each in content["changes"] if each["gain"] != 0)
    assert change["gain"] == pytest.approx(0.01)
    assert change["real"] is True
    assert "low" not in content["changes"][0]
    assert content["new"][0]["setting"] == "0.6"


def test_a_terminal_gets_the_tables_and_what_is_real(study: Repository) -> None:
    study.another_winner(CLEAR)
    *tables, last = as_tables(compare_with("main"))
    assert len(tables) == 2
    assert str(last).startswith("Real changes")


def test_what_is_no_revision_is_one_line(study: Repository) -> None:
    with pytest.raises(UserError, match=r"^mian: no revision that git can read \(.*mian.*\); `git"):
        compare_with("mian")
    with pytest.raises(UserError, match=r"^--output=x: no revision"):
        compare_with("--output=x")


def test_a_revision_without_a_study_is_said(study: Repository) -> None:
    study.git("checkout", "--quiet", "--orphan", "empty")
    study.git("rm", "--quiet", "-r", "--cached", ".")
    study.git("commit", "--quiet", "--allow-empty", "--message", "Nothing")
    with pytest.raises(UserError, match=r"^empty: no params.yaml there, so no study; name another"):
        compare_with("empty")


def test_outside_of_a_study_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no dvc.yaml here or above; go to the folder of a study"):
        compare_with("main")


@pytest.mark.parametrize(
    ("form", "begins"), [([], "Since HEAD"), (["--markdown"], "### What"), (["--json"], "{")]
)
def test_the_command_prints_each_form_and_needs_neither_torch_nor_plots(
    form: list[str], begins: str, study: Repository
) -> None:
    heavy = ("torch", "sklearn", "scipy.stats", "matplotlib", "dvc")
    code = (
        "import sys; from ablation.cli import command_line; "
        "given = command_line().parse_args(sys.argv[1:]); given.run(given); "
        f"assert not [name for name in {heavy} if name in sys.modules]"
    )
    command = [sys.executable, "-c", code, "diff", "HEAD", *form]
    said = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(begins)
