"""The sentences of the answer: every technique once for each family, in the right group."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablation.base.formatting import percent, points
from ablation.show import tables
from ablation.show.answer import SENTENCES, answer, group_techniques, join, summarize
from ablation.show.study import Study
from tests.committed import ROOT, when_run


@pytest.fixture
def other(reported: Study, tmp_path: Path) -> Study:
    """A copy to change."""
    shutil.copytree(reported.root, tmp_path / "other")
    return replace(reported, root=tmp_path / "other")


def change(study: Study, name: str, **columns: object) -> None:
    path = study.root / name
    pd.read_csv(path, dtype=str).assign(**columns).to_csv(path, index=False)


def set_worth(study: Study, technique: str, **columns: str) -> None:
    """Change the row of a technique in the MLP's leave-one-out table."""
    path = study.root / "plots/mlp/leave_one_out/gains.csv"
    table = pd.read_csv(path, dtype=str).set_index("technique", drop=False)
    table.loc[technique, list(columns)] = list(columns.values())
    table.to_csv(path, index=False)


def end_with_epochs(study: Study, verdict: str) -> None:
    """Add a stage after the recipe that leave-one-out tests."""
    path = study.root / "plots/comparison/chain.csv"
    chain = pd.read_csv(path, dtype=str)
    row = {"stage": "epochs", "winner": "4x", "verdict": verdict, "accuracy": "0.9"}
    numbers = {"gain": "0.01", "low": "0.005", "high": "0.015"} if verdict == "adopted" else {}
    rows = [{"model": model, **row, **numbers} for model in study.models]
    pd.concat([chain, pd.DataFrame(rows)]).to_csv(path, index=False)
    for model in study.models:
        folder = study.root / f"plots/{model}/epochs"
        shutil.copytree(study.root / f"plots/{model}/dropout", folder)
        change(study, f"plots/{model}/epochs/candidates.csv", setting=["4x", "1x", "2x"])


@pytest.mark.parametrize("folder", [None, pytest.param(ROOT, marks=when_run("report"))])
def test_every_technique_is_in_one_group(reported: Study, folder: Path | None) -> None:
    study = replace(reported, root=folder, models=("mlp", "cnn")) if folder else reported
    for model in study.models:
        groups = group_techniques(study, model).values()
        names = [each.split(" ")[0] for group in groups for each in group]
        assert sorted(names) == sorted(study.techniques())


def test_an_unchanged_technique_is_reported_with_its_loss(other: Study) -> None:
    """Its setting is the baseline's, so leave-one-out did not test it; its stage did."""
    path = "plots/cnn/dropout/candidates.csv"
    change(other, path, role=["winner", "candidate", "candidate"], finding=["", "worse", "worse"])
    set_worth(other, "dropout", gain="", low="", high="")
    groups = group_techniques(other, "cnn")
    assert "dropout (both worse)" in groups["kept"]
    assert not any("dropout" in each for each in groups["not shown"])


def test_techniques_with_a_gain_above_zero_help_with_the_largest_first(other: Study) -> None:
    for technique, gain in {"scheduler": "0.01", "activation": "0.03", "optimizer": "0.02"}.items():
        set_worth(other, technique, gain=gain, low="0.001")
    set_worth(other, "regularization", gain="-0.01", low="-0.02", high="-0.001")
    groups = group_techniques(other, "mlp")
    assert groups["helps"] == ["activation (+3.00)", "optimizer (+2.00)", "scheduler (+1.00)"]
    assert groups["not shown"] == ["regularization (-1.00, shown to harm)"]


def test_a_technique_without_which_training_fails_helps(other: Study) -> None:
    set_worth(other, "scheduler", gain="", low="", high="", failed="True")
    assert group_techniques(other, "mlp")["helps"][0] == (
        "scheduler (without it the training fails)"
    )


def test_a_gain_without_an_interval_is_not_shown(other: Study) -> None:
    set_worth(other, "scheduler", gain="0.03", low="", high="")
    assert "scheduler (+3.00)" in group_techniques(other, "mlp")["not shown"]


def test_a_setting_adopted_by_a_later_stage_was_not_tested_on_fresh_repeats(other: Study) -> None:
    end_with_epochs(other, "adopted")
    groups = group_techniques(other, "mlp")
    assert groups["chosen later"] == ["epochs `4x` (+1.00)"]
    sentence = next(each for each in answer(other) if "epochs" in each)
    assert "not tested on fresh repeats" in sentence
    assert not any("epochs" in each for each in groups["helps"])


def test_a_setting_kept_by_a_later_stage_is_the_baselines(other: Study) -> None:
    end_with_epochs(other, "kept")
    assert any(each.startswith("epochs (") for each in group_techniques(other, "mlp")["kept"])


def test_a_technique_without_candidates_was_not_tried(other: Study) -> None:
    path = other.root / "plots/mlp/dropout/candidates.csv"
    pd.read_csv(path, dtype=str)[:1].to_csv(path, index=False)
    assert group_techniques(other, "mlp")["not tried"] == ["dropout"]
    assert answer(other)[-1] == "Not tried: dropout in the MLP."


def test_empty_groups_are_omitted_except_helps(other: Study) -> None:
    for model in other.models:
        change(other, f"plots/{model}/leave_one_out/gains.csv", low="-0.01")
    said = answer(other)
    assert "no technique in the CNN, the RNN and the MLP" in said[3]
    assert not any(each.startswith(("Not tried", "Adopted")) for each in said)


def test_families_without_a_helping_technique_are_named_in_order(other: Study) -> None:
    change(other, "plots/rnn/leave_one_out/gains.csv", low="-0.01")
    helps = answer(other)[3]
    assert re.search(r" in the CNN; no technique in the RNN; .+ in the MLP\.$", helps)


@pytest.mark.parametrize(
    "found, said",
    [
        (["worse"], "`a`: worse, -1.00"),
        (["collapsed"], "`a`: failed"),
        (["worse", "worse"], "both worse"),
        (["within the noise"] * 3, "all within the noise"),
        (["worse", "better", "worse", "diverged"], "1 better, 2 worse and 1 failed"),
    ],
)
def test_findings_of_settings_are_summarized(found: list[str], said: str) -> None:
    rows = [
        {
            "setting": name,
            "gain": -0.01,
            "finding": word,
            "diverged": word == "diverged",
            "collapsed": word == "collapsed",
        }
        for name, word in zip("abcd", found, strict=False)
    ]
    assert summarize(pd.DataFrame(rows)) == said


def test_accuracies_and_gains_are_those_of_the_files(reported: Study) -> None:
    accuracies, gained, ahead, *_ = answer(reported)
    for model in reported.models:
        test = reported.numbers(f"metrics/{model}/test.json")
        interval = f"({percent(test['low'])[:-2]} to {percent(test['high'])})"
        assert f"{percent(test['accuracy'])} {interval} for the {model.upper()}" in accuracies
        assert f"**+2.00 (+1.30 to +2.80)** in the {model.upper()}" in gained
    assert "Each recipe was fitted with 3 seeds" in gained
    pairs = reported.table("plots/comparison/pairs.csv").set_index(["first", "second"])
    assert "the final recipe of the CNN gains " in ahead
    assert f"{points(pairs.loc[('mlp', 'cnn'), 'gain'])} (" in ahead
    assert f"{points(-pairs.loc[('cnn', 'rnn'), 'gain'])} (" in ahead
    assert ahead.count(" over that of the ") == len(reported.models) - 1


def test_gains_over_the_baseline_and_over_a_family_are_separate_sentences(
    other: Study,
) -> None:
    change(other, "plots/comparison/pairs.csv", gain="0.02", low="0.013", high="0.028")
    _, gained, ahead, *_ = answer(other)
    assert gained.startswith("Over the baseline recipe, the final recipe gains")
    assert "**+2.00 (+1.30 to +2.80)** over that of the MLP" in ahead


def test_with_a_single_seed_the_interval_does_not_cover_seeds(other: Study) -> None:
    for model in other.models:
        path = other.root / f"plots/{model}/test/seeds.csv"
        pd.read_csv(path, dtype=str).drop_duplicates("recipe").to_csv(path, index=False)
    assert "but not for that of seeds." in answer(other)[1]


def test_a_single_family_is_compared_with_no_other(reported: Study, other: Study) -> None:
    path = other.root / "plots/comparison/models.csv"
    pd.read_csv(path, dtype=str)[:1].to_csv(path, index=False)
    said = answer(replace(other, models=("mlp",)))
    assert not any("By the same measure" in each for each in said)
    assert all(" CNN" not in each for each in said)


def test_every_group_has_a_sentence_with_one_placeholder(reported: Study) -> None:
    assert list(group_techniques(reported, "mlp")) == list(SENTENCES)
    assert all(sentence.count("{}") == 1 for sentence in SENTENCES.values())


def test_words_are_joined_with_commas_and_and() -> None:
    assert [join([*"abc"[:n]]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_later_stages_are_the_last_rows_of_the_table_of_gains(other: Study) -> None:
    end_with_epochs(other, "adopted")
    last = tables.answer(other).splitlines()[-1].strip("| ").split(" | ")
    assert last == ["then epochs", *["`4x`: **+1.00 (+0.50 to +1.50)**"] * len(other.models)]
