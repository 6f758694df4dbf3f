import pytest
import torch
from additions import TECHNIQUES, measure, summary, variants

from ablation.params import load_params
from ablation.run.hardware import Hardware
from ablation.trial.families import MlpSpec
from ablation.trial.training import Part


def test_every_candidate_of_the_three_techniques_is_timed() -> None:
    params = load_params()
    recipes = variants(params, "mlp")
    assert recipes["baseline"] == params.baseline
    for technique in TECHNIQUES:
        assert any(name.startswith(f"{technique}: ") for name in recipes)
    assert len(set(recipes.values())) == len(recipes)


def test_every_variant_trains_in_every_round(
    parts: tuple[Part, Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("additions.SECONDS", 0.01)
    params = load_params()
    recipes = variants(params, "mlp")
    spec, hardware = MlpSpec(hidden=(8, 8, 8), epochs=1), Hardware("cpu", bf16=False, workers=1)
    part = Part(parts[0].images, parts[0].labels.to(torch.int64))
    times = measure(spec, recipes, part, params, hardware)
    assert times.keys() == recipes.keys()
    assert {len(each) for each in times.values()} == {5}
    assert min(min(each) for each in times.values()) > 0


def test_the_time_is_a_ratio_within_rounds() -> None:
    times = {"baseline": [1.0, 10.0, 2.0], "smoothing: 0.1": [1.1, 12.0, 2.2]}
    (row,) = summary("mlp", times)
    assert (row["model"], row["with"], row["over_baseline"]) == ("mlp", "smoothing: 0.1", 1.1)
