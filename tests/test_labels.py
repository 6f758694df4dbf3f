import pytest

from ablation.base.checked import ParamsError
from ablation.labels import ChainStage, at_rate, technique_of


@pytest.mark.parametrize(
    ("name", "technique", "contest"),
    [
        ("baseline", "baseline", "first"),
        ("dropout", "dropout", "first"),
        ("dropout_again", "dropout", "again"),
        ("dropout_again2", "dropout", "again"),
        ("dropout_backward", "dropout", "backward"),
        ("dropout_backward10", "dropout", "backward"),
    ],
)
def test_a_stage_is_named_after_its_technique_and_its_round(
    name: str, technique: str, contest: str
) -> None:
    assert ChainStage.named(name) == ChainStage(name, technique, contest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["", "droput", "dropout2", "dropout_agian", "dropout_again_again", "again", "baseline_again"],
)
def test_another_name_is_refused_with_the_names_that_there_are(name: str) -> None:
    said = f"^{name!r} is not one of baseline, scheduler, .*; in later rounds, append _again or "
    with pytest.raises(ParamsError, match=said):
        ChainStage.named(name)


def test_the_technique_of_another_version_is_what_stands_before_the_round() -> None:
    assert [*map(technique_of, ("clipping", "clipping_again", "clipping_backward3"))] == [
        *["clipping"] * 3
    ]


def test_a_rate_is_said_once() -> None:
    assert at_rate("cosine", 0.003) == "cosine lr=0.003"
    assert at_rate("sgd lr=0.1", 0.1) == "sgd lr=0.1"
