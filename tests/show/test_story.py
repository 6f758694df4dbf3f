"""The report matches the study's files, in both formats, and is reproducible."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.show import tables
from ablation.show.report import write_charts
from ablation.show.story import write_report
from ablation.show.study import Study
from tests.show.conftest import TOYS, reread


@pytest.fixture(scope="module")
def text(reported: Study) -> str:
    return (reported.root / "plots/report.md").read_text()


@pytest.fixture(scope="module")
def page(reported: Study) -> str:
    return (reported.root / "plots/report.html").read_text()


@pytest.fixture
def other(reported: Study, tmp_path: Path) -> Study:
    """A copy for modification."""
    shutil.copytree(reported.root, tmp_path / "other")
    return replace(reported, root=tmp_path / "other")


def change(study: Study, name: str, **columns: object) -> None:
    path = study.root / name
    pd.read_csv(path, dtype=str).assign(**columns).to_csv(path, index=False)


def test_the_same_files_give_the_same_bytes(reported: Study) -> None:
    first = {path: path.read_bytes() for path in write_report(reported)}
    assert {path: path.read_bytes() for path in write_report(reported)} == first


def test_without_look_alikes_they_are_not_mentioned(other: Study) -> None:
    (other.root / "plots/comparison/ambiguous.csv").unlink()
    plain = replace(other, dataset=replace(TOYS, look_alikes={}, things="pictures"))
    paths = write_report(plain)
    reported = paths[0].read_text()
    for words in ("look-alike", "one shape", "a person could", "character", "upper and lower"):
        assert words not in reported
    assert "test pictures" in reported
    assert "picture by picture" in reported


def test_every_picture_of_the_text_exists_and_is_used_once(reported: Study, text: str) -> None:
    shown = re.findall(r"!\[.+?\]\((.+?)\)", text)
    plots = reported.root / "plots"
    written = {path.relative_to(plots).as_posix() for path in (plots / "pictures").rglob("*.png")}
    assert set(shown) == written
    assert len(shown) == len(written)


def test_every_table_is_in_both_formats(reported: Study, text: str, page: str) -> None:
    for make in (tables.chain, tables.answer, tables.test, tables.kinds, tables.times):
        table = make(reported)
        assert table in text
        cells = re.sub(r"[*`]", "", table.splitlines()[-1]).strip("| ").split(" | ")
        words = re.sub(r"<[^>]+>", "", page)
        assert all(cell in words for cell in cells)


def test_every_technique_has_a_section_with_its_verdicts(reported: Study, text: str) -> None:
    chain = text[text.index("<summary>The chain") : text.index("<summary>The models on")]
    parts = chain.split("<summary>")[2:]
    assert [part.split("<")[0].lower() for part in parts] == reported.stages()[1:]
    assert "The CNN adopted `leaky_relu` in place of `relu`: **+0.40 (" in parts[1]
    assert "The CNN kept `on`: the only other setting failed." in parts[3]


def test_the_report_begins_with_scores_the_gains_and_at_most_five_sentences(text: str) -> None:
    first = text[: text.index("<details>")]
    places = [first.index(part) for part in ("**+2.00 (", "pictures/leave_one_out.png", "\n1. ")]
    assert places == sorted(places)
    assert "\n6. " not in first
    assert first.count("\n") < 30


def test_other_times_change_only_the_times(other: Study, text: str) -> None:
    change(other, "data/times/mlp/fit.csv", train_seconds="600")
    change(other, "data/times/cnn/test.csv", images_per_second="17")
    markdown, _ = write_report(other)
    lines = zip(text.splitlines(), markdown.read_text().splitlines(), strict=True)
    changed = [before.split(" | ")[0] for before, after in lines if before != after]
    assert changed == ["| prediction, one core", "| fit", "| total"]


def test_the_effect_of_each_temperature_is_described(text: str, page: str) -> None:
    words = re.sub(r"\s+", " ", text)
    assert (
        "On the test characters, a temperature of 1.42 makes the MLP less confident, and "
        "its error falls from 8.00 % to 3.21 %; a temperature of 0.63 makes the CNN more "
        "confident, and its error stays at 3.21 %; a temperature of 0.90 makes the RNN more "
        "confident, and its error rises from 1.00 % to 3.21 %."
    ) in words
    assert "| log-likelihood, nats | -0.4500 before, -0.4000 after |" in text
    assert "-0.4500 before, -0.4000 after" in page


def test_the_note_of_synthetic_data_is_shown_and_no_other_data_is_mentioned(
    text: str, page: str
) -> None:
    body = page[page.index("<body>") : page.index("<script id=")]
    for reported in (text, body):
        assert f"{TOYS.note}" in reported
        assert not re.search(r"handwrit|emnist", reported, re.IGNORECASE)


def test_the_report_of_a_chain_without_changes_is_complete(other: Study) -> None:
    for model in other.models:
        folder = f"plots/{model}/leave_one_out"
        change(other, f"{folder}/gains.csv", gain="", low="", high="")
        for name in ("shapley", "interactions"):
            path = other.root / folder / f"{name}.csv"
            path.write_text(path.read_text().splitlines()[0] + "\n")
    write_charts(other)
    text = "\n".join(path.read_text() for path in write_report(other))
    body = text[: text.index('<script id="vega">')]
    assert "| all changes | nothing changed |" in body
    assert "| all changes | not tested |" in body
    assert not re.search(r"\bnan\b", body, re.IGNORECASE)


def test_a_setting_with_a_larger_gain_than_the_winner_is_explained(other: Study) -> None:
    path = other.root / "plots/mlp/activation/candidates.csv"
    table = pd.read_csv(path, dtype=str).set_index("setting", drop=False)
    table.loc["gelu", ["gain", "repeats", "won_grid"]] = ["0.0049", "5", "True"]
    table.to_csv(path, index=False)
    write_charts(other)
    said = (
        "- The MLP adopted `leaky_relu` in place of `relu`: **+0.40 (",
        " points, for an accuracy of 84.80 %. `gelu` gained +0.49, but 0.09 points more are "
        "within the noise, so the simplest wins: the one that `params.yaml` lists first.\n",
    )
    text = write_report(other)[0].read_text()
    assert all(part in text for part in said)
    table.loc["gelu", "finding"] = "unsteady"
    table.to_csv(path, index=False)
    text = write_report(reread(other))[0].read_text()
    assert "`gelu` gained +0.49, but its scores vary too much to be sure of it.\n" in text


def test_a_setting_that_racing_stopped_is_not_said_to_have_gained_more(other: Study) -> None:
    path = other.root / "plots/mlp/activation/candidates.csv"
    table = pd.read_csv(path, dtype=str).set_index("setting", drop=False)
    table.loc["gelu", ["gain", "repeats"]] = ["0.0049", "2"]
    table.to_csv(path, index=False)
    write_charts(other)
    assert "gained" not in write_report(other)[0].read_text()


def test_a_stage_that_kept_its_incumbent_explains_why(other: Study) -> None:
    path = other.root / "plots/mlp/dropout/candidates.csv"
    table = pd.read_csv(path, dtype=str)
    texts = []
    for column, value in (
        ("finding", "within the noise"),
        ("finding", "better"),
        ("collapsed", "True"),
    ):
        table.loc[1:, column] = value
        table.to_csv(path, index=False)
        study = reread(other)
        write_charts(study)
        texts.append(write_report(study)[0].read_text())
    assert "The MLP kept `0.2`: no other setting was better beyond the noise." in texts[0]
    assert "The MLP kept `0.2`: no other setting that ran to the end gained more than" in texts[1]
    assert "The MLP kept `0.2`: all others failed." in texts[2]


def test_one_epoch_and_one_seed_are_singular(other: Study) -> None:
    for model in other.models:
        for path in (other.root / f"plots/{model}").glob("*/curves.csv"):
            table = pd.read_csv(path, dtype=str)
            table[table["epoch"] == "1"].to_csv(path, index=False)
        path = other.root / f"plots/{model}/test/seeds.csv"
        table = pd.read_csv(path, dtype=str)
        table[table["seed"] == "1"].to_csv(path, index=False)
    write_charts(other)
    text = write_report(other)[0].read_text()
    assert text.count("1 epoch (MLP), 1 epoch (CNN) and 1 epoch (RNN)") == 2
    assert "with 1 seed, and so was" in text
    assert "but not for that of the single seed" in text
    assert not re.search(r"\b1 (epochs|seeds)", text)


def test_no_zero_is_negative(other: Study) -> None:
    change(other, "plots/mlp/leave_one_out/shapley.csv", gain="-0.00001", low="-0.00004")
    text = write_report(other)[0].read_text()
    assert "+0.00 (+0.00 to" in text
    assert "-0.00" not in text


def test_own_pictures_are_called_a_folder_of_pictures(reported: Study) -> None:
    text = write_report(replace(reported, name="folder"))[0].read_text()
    assert "one after the other on a folder of pictures: 560 training" in text
    write_report(reported)


def test_different_hardware_is_mentioned_at_the_chain(other: Study, text: str) -> None:
    assert "All stages were computed on Abacus, bf16." in text
    change(other, "data/times/mlp/optimizer.csv", computer="Zuse")
    change(other, "data/times/cnn/fit.csv", precision="float32")
    markdown = write_report(other)[0].read_text()
    assert (
        "The stages were computed on different hardware or in different precisions: optimizer of "
        "the MLP on Zuse, bf16 and fit of the CNN on Abacus, float32, and the rest on Abacus, bf16."
    ) in markdown


def test_a_single_repeat_has_gains_without_intervals(other: Study) -> None:
    for model in other.models:
        change(other, f"plots/{model}/scheduler/candidates.csv", low="", high="", spread="")
        change(other, f"plots/{model}/leave_one_out/gains.csv", low="", high="")
    chain = pd.read_csv(other.root / "plots/comparison/chain.csv", dtype=str)
    chain.assign(low="", high="").to_csv(other.root / "plots/comparison/chain.csv", index=False)
    write_charts(other)
    text = write_report(other)[0].read_text()
    assert "in place of `constant`: +0.40 points, for an accuracy of 84.40 %." in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_data_without_look_alikes_has_no_table_of_look_alikes(reported: Study) -> None:
    plain = replace(reported, dataset=replace(TOYS, look_alikes={}))
    markdown, _ = write_report(plain)
    without = markdown.read_text()
    write_report(reported)
    assert "look-alikes:" not in without


def test_a_single_family_has_no_comparison(other: Study) -> None:
    alone = replace(other, models=("cnn",))
    for name in ("chain", "models", "ambiguous"):
        table = pd.read_csv(other.root / f"plots/comparison/{name}.csv", dtype=str)
        table[table["model"] == "cnn"].to_csv(
            other.root / f"plots/comparison/{name}.csv", index=False
        )
    markdown, _ = write_report(alone)
    assert "The baseline trains for 8 epochs (CNN), the final" in markdown.read_text()
    assert "McNemar" not in markdown.read_text()


def test_the_library_is_that_of_dvcs_page(reported: Study, page: str) -> None:
    original = (reported.root / ".dvc/plots/page.html").read_text()
    library = original[original.index('<script id="vega">') :]
    assert page.endswith(library)
    assert page.count('<script id="vega">') == 1
    assert "{plot_divs}" not in page.removesuffix(library)
    assert "{refresh_tag}" not in page


def test_a_chart_holds_the_rows_that_dvc_would_draw(reported: Study, page: str) -> None:
    [spec] = re.findall(r'data-name="chain"><script>vegaEmbed\("#chart-3", (.+?)\);</script>', page)
    rows = json.loads(spec)["data"]["values"]
    table = pd.read_csv(reported.root / "plots/charts/chain.csv", dtype=str, keep_default_na=False)
    assert rows == table.assign(rev="workspace").to_dict("records")


def test_a_missing_file_is_named_with_the_stage_that_writes_it(other: Study) -> None:
    (other.root / "data/times/rnn/test.csv").unlink()
    with pytest.raises(UserError, match=r"^data/times/rnn/test.csv: .*`dvc repro evaluate@rnn`"):
        write_report(other)
