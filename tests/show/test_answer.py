"""The sentences of the answer: every technique once for each family, in the right group."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablation.base.formatting import percent, points
from ablation.show.answer import SENTENCES, answer, group_techniques, in_training, join, result
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


@pytest.mark.parametrize("folder", [None, pytest.param(ROOT, marks=when_run("report"))])
def test_every_technique_is_in_one_group(reported: Study, folder: Path | None) -> None:
    study = replace(reported, root=folder, models=("mlp", "cnn")) if folder else reported
    for model in study.models:
        groups = group_techniques(study, model).values()
        names = [each.split(" ")[0] for group in groups for each in group]
        assert sorted(names) == sorted(study.techniques())


def test_a_technique_that_kept_the_baselines_setting_was_tried(other: Study) -> None:
    groups = group_techniques(other, "cnn")
    assert groups["kept"] == ["batchnorm", "dropout"]
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


def test_a_technique_without_candidates_was_not_tried(other: Study) -> None:
    path = other.root / "plots/mlp/dropout/candidates.csv"
    pd.read_csv(path, dtype=str)[:1].to_csv(path, index=False)
    assert group_techniques(other, "mlp")["not tried"] == ["dropout"]
    assert answer(other)[-1] == "Not tried: dropout in the MLP."


def test_empty_groups_are_omitted_except_helps(other: Study) -> None:
    for model in other.models:
        change(other, f"plots/{model}/leave_one_out/gains.csv", low="-0.01")
    said = answer(other)
    assert "no technique in the CNN, the RNN and the MLP" in said[1]
    assert not any(each.startswith("Not tried") for each in said)


def test_families_without_a_helping_technique_are_named_in_order(other: Study) -> None:
    change(other, "plots/rnn/leave_one_out/gains.csv", low="-0.01")
    helps = answer(other)[1]
    assert re.search(r" in the CNN; no technique in the RNN; .+ in the MLP\.$", helps)


def test_accuracies_and_gains_are_those_of_the_files(reported: Study) -> None:
    said, ahead = result(reported), answer(reported)[0]
    for model in reported.models:
        test = reported.numbers(f"metrics/{model}/test.json")
        interval = f"({percent(test['low'])[:-2]} to {percent(test['high'])})"
        assert f"the {model.upper()} " in said
        assert f"**{percent(test['accuracy'])}** {interval}" in said
    assert said.count("**+2.00 (+1.30 to +2.80)**") == len(reported.models)
    pairs = reported.table("plots/comparison/pairs.csv").set_index(["first", "second"])
    assert "the final recipe of the CNN is better than that of the " in ahead
    assert f"that of the MLP, **{points(pairs.loc[('mlp', 'cnn'), 'gain'])} (" in ahead
    assert f"that of the RNN, **{points(-pairs.loc[('cnn', 'rnn'), 'gain'])} (" in ahead


def test_gains_over_the_baseline_and_over_a_family_are_separate_sentences(
    other: Study,
) -> None:
    change(other, "plots/comparison/pairs.csv", gain="0.02", low="0.013", high="0.028")
    assert "over the baseline, their recipes gain" in result(other)
    assert "is better than that of the MLP, **+2.00 (+1.30 to +2.80)**" in answer(other)[0]


def test_a_lead_without_an_interval_is_not_shown(other: Study) -> None:
    change(other, "plots/comparison/pairs.csv", gain="0.02", low="", high="")
    assert (
        "the final recipe of the CNN is not shown to differ from that of the " in answer(other)[0]
    )


def test_a_lead_whose_interval_contains_zero_is_not_shown(other: Study) -> None:
    change(other, "plots/comparison/pairs.csv", gain="0.02", low="-0.013", high="0.053")
    assert (
        "the final recipe of the CNN is not shown to differ from that of the " in answer(other)[0]
    )
    assert "that of the MLP, +2.00 (-1.30 to +5.30)" in answer(other)[0]


def test_the_result_names_what_helps_most(other: Study) -> None:
    for model in other.models:
        change(other, f"plots/{model}/leave_one_out/gains.csv", low="-0.01")
    set_worth(other, "activation", gain="0.03", low="0.01")
    helps = "what helps most is activation (+3.00) in the MLP"
    others = "no technique is shown to help in the CNN and the RNN"
    assert result(other).endswith(f"points; {helps}; {others}.")


def test_the_result_of_a_study_in_which_nothing_helps(other: Study) -> None:
    for model in other.models:
        change(other, f"plots/{model}/leave_one_out/gains.csv", low="-0.01")
    nothing = "no technique is shown to help in the CNN, the RNN and the MLP"
    assert result(other).endswith(f"points; {nothing}.")


def test_training_accuracy_is_told_with_what_is_switched_on_in_training(other: Study) -> None:
    for model in other.models:
        change(other, f"plots/{model}/dropout/curves.csv", train_accuracy="0.8")
        change(other, f"plots/{model}/dropout/curves.csv", validation_accuracy="0.85")
    change(other, "plots/cnn/dropout/curves.csv", train_accuracy="0.9")
    change(other, "plots/rnn/leave_one_out/gains.csv", final_setting="none")
    mlp, cnn, rnn = in_training(other)
    assert mlp == "the MLP's ends 5.00 points below its validation accuracy, with dropout `0.2`"
    assert cnn == "the CNN's ends 5.00 points above its validation accuracy, with dropout `0.2`"
    assert rnn == "the RNN's ends 5.00 points below its validation accuracy"


def test_a_single_family_is_compared_with_no_other(reported: Study, other: Study) -> None:
    path = other.root / "plots/comparison/models.csv"
    pd.read_csv(path, dtype=str)[:1].to_csv(path, index=False)
    said = answer(replace(other, models=("mlp",)))
    assert said[0].startswith("Shown to help")
    assert all(" CNN" not in each for each in said)
    assert "its recipe gains" in result(replace(other, models=("mlp",)))


def test_every_group_has_a_sentence_with_one_placeholder(reported: Study) -> None:
    assert list(group_techniques(reported, "mlp")) == list(SENTENCES)
    assert all(sentence.count("{}") == 1 for sentence in SENTENCES.values())


def test_words_are_joined_with_commas_and_and() -> None:
    assert [join([*"abc"[:n]]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
