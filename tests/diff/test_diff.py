"""`ablation diff`: changes between two revisions, their noise, and the three output formats."""

import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ablation.base.errors import UserError
from ablation.base.files import read_csv, write_csv
from ablation.diff.changes import Change
from ablation.diff.output import Difference, as_json, as_markdown, as_text, compare_with, summary
from ablation.judge.noise import corrected_interval
from ablation.params import load_params
from tests.diff.conftest import ROOT, Repository

REPEATS = load_params(ROOT / "params.yaml").validation.repeats
CLEAR = [0.010, 0.011, 0.009, 0.010]


def change_of(difference: Difference, stage: str, model: str = "mlp") -> Change:
    (change,) = (each for each in difference.changes if (each.model, each.stage) == (model, stage))
    return change


def test_identical_results_are_unchanged(study: Repository) -> None:
    difference = compare_with("main")
    assert {change.finding for change in difference.changes} == {"unchanged"}
    assert difference.new == difference.gone == []
    assert summary(difference) == [
        "No changes: in every stage of both sides, the winner has the same scores."
    ]


def test_stages_are_listed_in_chain_order(study: Repository) -> None:
    stages = [change.stage for change in compare_with("main").changes if change.model == "cnn"]
    assert stages[:2] == ["baseline", "scheduler"]
    assert stages.index("augmentation") < stages.index("architecture")
    assert stages.index("averaging") < stages.index("backward/scheduler")
    assert stages[-2:] == ["leave_one_out", "test"]


def test_a_clear_gain_is_real(study: Repository) -> None:
    study.add_winner(CLEAR)
    difference = compare_with("main")
    change = change_of(difference, "dropout")
    assert change.real and change.finding == "better"
    assert (change.before.winner, change.after.winner) == ("0.2", "0.6")  # type: ignore[union-attr]
    assert change.gain == pytest.approx(0.010)
    assert 0 < change.low < 0.010 < change.high
    assert change.repeats == REPEATS
    assert [each.stage for each in difference.real] == ["dropout"]
    assert summary(difference)[0].startswith(
        "Real changes, in percentage points with 95 % intervals: dropout of the MLP +1.00 (+"
    )


def test_noise_is_estimated_from_all_contenders(study: Repository) -> None:
    study.add_winner([0.012, -0.008, 0.010, -0.006])
    change = change_of(compare_with("main"), "dropout")
    alone = corrected_interval(np.array([0.012, -0.008, 0.010, -0.006]), 0.15 / 0.85, 0.95)
    assert change.finding == "within the noise" and not change.real
    assert change.high - change.low < 0.95 * (alone[1] - alone[0])


def test_a_negligible_difference_is_practically_equal(study: Repository) -> None:
    study.params("selection", equal_within=0.05)
    study.add_winner(CLEAR)
    assert change_of(compare_with("main"), "dropout").finding == "practically equal"


def test_new_candidates_are_listed_with_their_findings(study: Repository) -> None:
    study.add_winner(CLEAR)
    study.git("checkout", "--quiet", "-b", "more")
    study.git("commit", "--quiet", "--all", "--message", "A dropout of 0.6")
    (new,) = compare_with("main").new
    assert (new.stage, new.setting, new.finding, new.wins) == ("dropout", "0.6", "better", True)
    study.git("checkout", "--quiet", "main")
    difference = compare_with("more")
    assert difference.new == []
    assert [each.setting for each in difference.gone] == ["0.6"]
    assert change_of(difference, "dropout").finding == "worse"


def test_the_same_recipe_on_another_machine_is_not_a_real_change(study: Repository) -> None:
    """README's example on another processor, which alone moved the incumbent by 0.36 points."""
    moved = [0.004, 0.003, 0.0036, 0.0038]

    def move(trials: pd.DataFrame) -> None:
        trials.loc[trials["setting"] == "0.2", "score"] += moved

    study.table("plots/mlp/dropout/trials.csv", move)
    assert change_of(compare_with("main"), "dropout").real
    study.table(
        "data/times/mlp/dropout.csv", lambda times: times.__setitem__("computer", "Another CPU")
    )
    difference = compare_with("main")
    change = change_of(difference, "dropout")
    assert (change.finding, change.mismatches, change.real) == (
        "computed differently",
        ("machine",),
        False,
    )
    assert change.gain == pytest.approx(0.0036)
    no, machine, advice = summary(difference)
    assert no == "No change was shown to be real."
    assert machine == (
        "Computed under different conditions: machine (Intel(R) Xeon(R) Processor, now Another "
        "CPU)."
    )
    assert "`dvc repro` on both sides on one machine" in advice


def test_a_difference_under_different_conditions_is_not_called_real(
    study: Repository,
) -> None:
    study.add_winner(CLEAR)
    lock = study.path / "requirements.lock"
    lock.write_text(lock.read_text().replace("numpy==", "numpy==9."))
    difference = compare_with("main")
    change = change_of(difference, "dropout")
    assert (change.finding, change.mismatches, change.real) == ("better", ("libraries",), False)
    assert "| unsure, better | no: libraries |" in as_markdown(difference)


@pytest.mark.parametrize(("line", "mismatches"), [("# a comment\n", ()), ("X = 1\n", ("code",))])
def test_comments_are_not_a_difference_of_code(
    line: str, mismatches: tuple[str, ...], study: Repository
) -> None:
    with (study.path / "src/ablation/trial/training.py").open("a") as file:
        file.write(line)
    assert change_of(compare_with("main"), "dropout").mismatches == mismatches


def test_a_recipe_with_other_epochs_is_not_the_same_training(study: Repository) -> None:
    study.params("models", mlp={"hidden": [512, 256, 128], "epochs": 13})
    study.table("data/times/mlp/baseline.csv", lambda times: times.__setitem__("computer", "Other"))

    def move(trials: pd.DataFrame) -> None:
        trials["score"] += np.resize(CLEAR, len(trials))

    study.table("plots/mlp/baseline/trials.csv", move)
    assert change_of(compare_with("main"), "baseline").finding == "better"


@pytest.mark.parametrize(
    ("section", "value"), [("validation", {"fraction": 0.2}), ("data", {"dataset": "kmnist"})]
)
def test_studies_with_different_repeats_are_not_comparable(
    section: str, value: dict[str, object], study: Repository
) -> None:
    study.params(section, **value)
    change = change_of(compare_with("main"), "scheduler")
    assert change.finding == "not comparable"
    assert math.isnan(change.gain)


def test_only_common_repeats_are_compared(study: Repository) -> None:
    study.params("validation", repeats=3)
    study.add_winner(CLEAR)

    trials = read_csv(study.path / "plots/mlp/dropout/trials.csv")
    write_csv(trials[trials["repeat"] < 3], study.path / "plots/mlp/dropout/trials.csv")
    change = change_of(compare_with("main"), "dropout")
    assert change.repeats == 3
    assert change.gain == pytest.approx(0.010)


def test_leave_one_out_compares_the_final_recipes_on_fresh_repeats(study: Repository) -> None:
    def move(trials: pd.DataFrame) -> None:
        last = trials["recipe"].iloc[-1]
        rows = trials["recipe"] == last
        trials.loc[rows, "score"] -= np.resize(CLEAR, rows.sum())

    study.table("plots/mlp/leave_one_out/trials.csv", move)
    change = change_of(compare_with("main"), "leave_one_out")
    assert change.finding == "worse" and change.real
    assert change.gain == pytest.approx(-0.010, rel=0.05)
    assert change.after.winner.startswith("scheduler + optimizer")  # type: ignore[union-attr]


def test_the_test_compares_all_fits_of_the_final_recipes(study: Repository) -> None:
    def worsen(correct: pd.DataFrame) -> None:
        for seed in (1, 2, 3):
            correct.loc[:500, f"final {seed}"] = 0

    study.table("plots/cnn/test/correct.csv", worsen)
    change = change_of(compare_with("main"), "test", "cnn")
    assert change.finding == "worse" and change.repeats == 3
    assert change.low < change.gain < change.high < 0


def test_different_test_characters_are_not_comparable(study: Repository) -> None:
    study.table("plots/cnn/test/predictions.csv", lambda t: t.__setitem__("actual", "A"))
    assert change_of(compare_with("main"), "test", "cnn").finding == "not comparable"


def test_a_stage_of_one_side_only_is_new_or_gone(study: Repository) -> None:
    for file in (study.path / "plots/mlp/epochs").iterdir():
        file.unlink()
    (study.path / "metrics/mlp/epochs.json").unlink()
    change = change_of(compare_with("main"), "epochs")
    assert (change.finding, change.after) == ("gone", None)
    study.git("commit", "--quiet", "--all", "--message", "Without epochs")
    study.git("checkout", "--quiet", "HEAD~1")
    assert change_of(compare_with("main"), "epochs").finding == "new"


def test_markdown_has_a_heading_the_real_changes_and_tables(study: Repository) -> None:
    study.add_winner(CLEAR)
    text = as_markdown(compare_with("main"))
    assert text.startswith("### What changed since `main`\n\n- Real changes")
    (row,) = (line for line in text.splitlines() if line.startswith("| MLP | dropout | 0.2"))
    assert re.search(r"\| 0\.6: 8\d\.\d\d % \| \+1\.00 \(\+", row)
    assert row.endswith("| yes, better | yes |")
    assert "New candidates:\n\n| family | stage |" in text
    assert f"| MLP | dropout | 0.6 | +1.00 (+0.10 to +2.00) | {REPEATS} | better, winner |" in text


def test_json_has_fractions_and_omits_unknown_values(study: Repository) -> None:
    study.add_winner(CLEAR)
    content = json.loads(as_json(compare_with("main")))
    assert list(content) == ["revision", "mismatches", "changes", "new", "gone"]
    (change,) = (each for each in content["changes"] if each["gain"] != 0)
    assert change["gain"] == pytest.approx(0.01)
    assert change["real"] is True
    assert "low" not in content["changes"][0]
    assert content["new"][0]["setting"] == "0.6"


def test_text_fits_80_columns_without_wrapped_cells(study: Repository) -> None:
    study.add_winner([0.11, 0.12, 0.13, 0.12])
    study.table("data/times/mlp/dropout.csv", lambda times: times.__setitem__("computer", "Other"))
    console = Console(width=80, highlight=False, record=True, file=io.StringIO())
    for part in as_text(compare_with("main")):
        console.print(part)
    text = console.export_text()
    lines = text.splitlines()
    backward = [line.rstrip() for line in lines].index("backward")
    assert lines[backward + 1].startswith("  scheduler ")
    row = next(line for line in lines if line.startswith("dropout "))
    assert re.fullmatch(
        r"dropout +8\d\.\d\d % 9\d\.\d\d % \+12\.00 \(\+\d+\.\d+ to \+\d+\.\d+\) unsure, "
        r"better \* *",
        row,
    )
    assert "\ndropout: 0.2 -> 0.6\n" in text
    assert (
        f"\nMLP dropout 0.6: +12.00 (+0.10 to +2.00), {REPEATS} repeats, better, winner\n" in text
    )
    assert "\n*: computed under different conditions\n" in text


def test_conditions_of_unchanged_stages_are_not_reported(study: Repository) -> None:
    study.table("data/times/mlp/dropout.csv", lambda times: times.__setitem__("computer", "Other"))
    difference = compare_with("main")
    assert change_of(difference, "dropout").mismatches == ("machine",)
    assert difference.mismatches == {}


def test_an_unknown_revision_is_reported_in_one_line(study: Repository) -> None:
    with pytest.raises(
        UserError, match=r"^mian: not a revision that git can read \(.*mian.*\); `git"
    ):
        compare_with("mian")
    with pytest.raises(UserError, match=r"^--output=x: not a revision"):
        compare_with("--output=x")


def test_a_revision_without_a_study_is_refused(study: Repository) -> None:
    study.git("checkout", "--quiet", "--orphan", "empty")
    study.git("rm", "--quiet", "-r", "--cached", ".")
    study.git("commit", "--quiet", "--allow-empty", "--message", "Nothing")
    with pytest.raises(
        UserError, match=r"^empty: has no params.yaml, so it is not a study; name another"
    ):
        compare_with("empty")


def test_outside_a_study_the_error_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"no dvc.yaml here or in a parent folder; go to the folder of a study"
    ):
        compare_with("main")


@pytest.mark.parametrize(
    ("form", "begins"), [([], "Since HEAD:"), (["--markdown"], "### What"), (["--json"], "{")]
)
def test_the_command_prints_each_format_without_importing_torch_or_plots(
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
