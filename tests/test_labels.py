import pytest

from ablation.base.checked import ParamsError
from ablation.labels import ChainStage, at_rate, stages_in, technique_of


@pytest.mark.parametrize(
    ("name", "technique", "contest"),
    [
        ("baseline", "baseline", "first"),
        ("dropout", "dropout", "first"),
        ("dropout_again", "dropout", "again"),
        ("dropout_again2", "dropout", "again"),
        ("backward/dropout", "dropout", "backward"),
        ("backward10/dropout", "dropout", "backward"),
    ],
)
def test_a_stage_is_named_after_its_technique_and_its_round(
    name: str, technique: str, contest: str
) -> None:
    assert ChainStage.named(name) == ChainStage(name, technique, contest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "droput",
        "dropout2",
        "dropout_agian",
        "dropout_again_again",
        "again",
        "baseline_again",
        "backward",
        "backward/baseline",
        "backward/dropout_again",
    ],
)
def test_an_invalid_name_is_refused_with_the_valid_ones(name: str) -> None:
    said = f"^{name!r} is not one of baseline, scheduler, .*; in later rounds, append _again, "
    with pytest.raises(ParamsError, match=said):
        ChainStage.named(name)


def test_a_technique_of_another_version_is_parsed_from_the_name() -> None:
    assert [*map(technique_of, ("clipping", "clipping_again", "backward3/clipping"))] == [
        *["clipping"] * 3
    ]


def test_a_backward_stage_explores_every_previous_technique() -> None:
    assert [each.name for each in stages_in("backward2", ["scheduler", "dropout"])] == [
        "backward2/scheduler",
        "backward2/dropout",
    ]


def test_any_other_stage_explores_its_own_technique() -> None:
    assert stages_in("dropout_again", ["scheduler"]) == [ChainStage.named("dropout_again")]


def test_a_label_has_its_rate_once() -> None:
    assert at_rate("cosine", 0.003) == "cosine lr=0.003"
    assert at_rate("sgd lr=0.1", 0.1) == "sgd lr=0.1"
