"""Any input gives a result or a one-line error."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ablation.base.checked import ParamsError, checked, read_yaml
from ablation.base.errors import UserError
from ablation.data.splits import make_repeats
from ablation.fitted.model import Fitted
from ablation.fitted.model_file import ModelError, pack
from ablation.judge.racing import raced_out
from ablation.judge.selection import Contender, judge_stage
from ablation.labels import label
from ablation.params import Params, load_params
from ablation.pictures.conversion import CONVERSIONS
from ablation.trial.families import MlpSpec
from ablation.trial.models import build
from ablation.trial.recipe import Recipe, load_recipe, save_recipe
from ablation.trial.trials import Learnt, Trial
from ablation.use.prediction import predict_pictures

ROOT = Path(__file__).parents[1]
FILE = read_yaml(ROOT / "params.yaml")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "adam", "1e-3", "relu", 10**400, 0.1, "none", "ema", "affine"])
)
anything = st.recursive(
    scalars,
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["name", "lr", "mlp"]), each)
    ),
    max_leaves=6,
)


def places(content: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every position in params.yaml, from its keys to the numbers in its lists."""
    steps: list[Any] = []
    if isinstance(content, dict):
        steps = list(content)
    elif isinstance(content, list):
        steps = list(range(len(content)))
    inside = [place for step in steps for place in places(content[step], (*before, step))]
    return [*([before] if before else []), *inside]


def lines_of(error: UserError, start: str) -> None:
    """The lines of an error; each starts with the file, has a message and is not too long."""
    assert str(error)
    for line in str(error).splitlines():
        assert line.startswith(start)
        assert ": " in line or " is not one of " in line
        assert len(line) < 700


# --- params.yaml and recipes ----------------------------------------------------------------------


@given(place=st.sampled_from(places(FILE)), value=anything)
def test_any_value_gives_params_or_an_error(place: tuple[Any, ...], value: Any) -> None:
    content = at = copy.deepcopy(FILE)
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    try:
        params = checked(content, Params)
    except ParamsError as error:
        lines_of(error, "")
    else:
        assert all(params.spec(model, params.baseline) for model in params.families)


@given(text=st.text(max_size=60) | st.from_regex(r"(\w+: [\[{&*!\"'|>%@-]{0,3}\w*\n){1,4}"))
def test_any_text_gives_params_or_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ParamsError) as error:  # none of these is a whole study
        load_params(path)
    lines_of(error.value, f"{path}: ")


def recipes() -> st.SearchStrategy[Recipe]:
    """Any recipe that the schema allows."""
    rates = st.floats(1e-6, 100)
    shares = st.floats(0.01, 0.99)
    momenta = st.floats(0, 0.99)
    strengths = st.floats(0, 1)

    def named(**names: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
        each = [
            st.fixed_dictionaries({"name": st.just(name)}, optional=keys)
            for name, keys in names.items()
        ]
        return st.one_of(each)

    def optimizer(**names: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
        each = [
            st.fixed_dictionaries({"name": st.just(name), "lr": rates}, optional=keys)
            for name, keys in names.items()
        ]
        return st.one_of(each)

    affine = {"rotation": st.floats(0, 180), "shear": st.floats(0, 45), "scale": momenta}
    widths = st.lists(st.integers(1, 10_000), min_size=3, max_size=4)
    content = st.fixed_dictionaries(
        {
            "scheduler": named(
                constant={},
                cosine={},
                step={"every": shares, "gamma": shares},
                plateau={"factor": shares, "patience": st.integers(0, 99), "threshold": shares},
                onecycle={"peak": rates},
            ),
            "activation": st.sampled_from(["relu", "leaky_relu", "elu", "gelu", "tanh"]),
            "optimizer": optimizer(
                sgd={"momentum": momenta},
                adam={},
                adamw={"weight_decay": strengths},
                rmsprop={"alpha": momenta},
                adagrad={},
                adadelta={"rho": momenta},
            ),
            "batchnorm": st.booleans(),
            "regularization": st.fixed_dictionaries({"l1": strengths, "l2": strengths}),
            "dropout": momenta,
        },
        optional={
            "architecture": st.fixed_dictionaries({"hidden": widths})
            | st.fixed_dictionaries({"channels": widths, "dense": st.just([])}),
            "augmentation": named(none={}, affine=affine, elastic=affine | {"push": shares}),
            "smoothing": momenta,
            "averaging": named(none={}, ema={"horizon": rates}),
            "epochs": st.integers(1, 100),
        },
    )
    return content.map(Recipe.model_validate)


@given(recipe=recipes())
def test_any_recipe_survives_a_round_trip(recipe: Recipe, tmp_path: Path) -> None:
    save_recipe(recipe, tmp_path / "recipe.yaml", "chosen by a test")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    for technique in Recipe.model_fields:
        assert label(recipe.setting(technique)).isprintable()


# --- pictures and models --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> bytes:
    """The content of a small model file."""
    spec = MlpSpec(hidden=(4, 4, 4), epochs=1)
    recipe = Recipe.model_validate(FILE["baseline"])
    trial = Trial("mlp", spec, recipe, make_repeats(1, "shuffle", 0.5, 1)[0])
    state = build(spec, recipe, 3, seed=0).state_dict()
    learnt = Learnt(0.2, 0.3, {name: v.contiguous().numpy() for name, v in state.items()})
    return pack(trial, learnt, ("0", "1", "A"), "emnist")


@pytest.fixture(scope="module")
def network(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    path = tmp_path_factory.mktemp("model") / "mlp.safetensors"
    path.write_bytes(model)
    return Fitted.load(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A picture of a seven in common formats."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = Image.new("L", (40, 30), 255)
    drawn.paste(20, (10, 5, 14, 25))
    contents = []
    for form in ("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm"):
        drawn.save(folder / f"drawn.{form}")
        contents.append((folder / f"drawn.{form}").read_bytes())
    return contents


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """The bytes with some of them changed, removed or inserted."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.sampled_from([place, place + 1, place + 1, place + 4, len(changed)]))
        changed[place:end] = data.draw(st.binary(max_size=4))
    return bytes(changed)


@given(data=st.data())
def test_any_picture_is_read_or_refused(
    data: st.DataObject, network: Fitted, pictures: list[bytes], tmp_path: Path
) -> None:
    content = data.draw(st.sampled_from(pictures))
    path = tmp_path / "drawn"
    path.write_bytes(damaged(content, data) if data.draw(st.booleans()) else data.draw(st.binary()))
    metadata = replace(network.metadata, conversion=data.draw(st.sampled_from([*CONVERSIONS])))
    (said,) = predict_pictures([path], {"mlp": replace(network, metadata=metadata)})
    assert (said.error is None) != (said.guesses is None)
    assert said.error is None or 0 < len(said.error.splitlines()[0]) == len(said.error) < 300


@given(data=st.data())
def test_any_model_predicts_or_is_refused(
    data: st.DataObject,
    model: bytes,
    pictures: list[bytes],
    tmp_path: Path,
) -> None:
    torch.set_num_threads(1)
    path, picture = tmp_path / "mlp.safetensors", tmp_path / "seven.png"
    picture.write_bytes(pictures[0])
    path.write_bytes(damaged(model, data))
    try:
        predict_pictures([picture], {"mlp": (fitted := Fitted.load(path))})
        probabilities = fitted.probabilities(np.full((1, 28, 28), 200, np.uint8))
    except ModelError as error:
        lines_of(error, f"{path}: ")
        assert "\n" not in str(error)
    else:
        assert probabilities.shape == (1, len(fitted.metadata.classes))
        assert probabilities.sum() == pytest.approx(1, abs=1e-4)


# --- the judge ----------------------------------------------------------------------------------


@st.composite
def stages(draw: st.DrawFn) -> list[Contender]:
    """An incumbent and others on the same repeats, with arbitrary scores."""
    repeats = draw(st.integers(1, 6))
    score = st.sampled_from([0.0, 0.02, 0.8, 0.8, 0.81, 1.0]) | st.floats(0, 1)
    everyone = []
    for place in range(draw(st.integers(1, 6))):
        scores = np.array(draw(st.lists(score, min_size=repeats, max_size=repeats)))
        if place:
            scores[draw(st.integers(1, repeats)) :] = np.nan
        diverged, collapsed = draw(st.sampled_from([(0, 0), (0, 0), (0, 0), (1, 0), (0, 1)]))
        rate = draw(st.sampled_from([None, 0.1, 0.2]))
        name = draw(st.sampled_from(["sgd", "adam", f"other {place}"]))
        everyone.append(
            Contender(name, f"{name} {place}", scores, bool(diverged), rate, bool(collapsed))
        )
    return everyone


ratios = st.sampled_from([0.01, 0.176, 1.0])
risks = st.sampled_from([0.01, 0.2, 0.5])


@given(stage=stages(), ratio=ratios, risk=risks, within=st.sampled_from([0.0, 0.0025, 1.0]))
def test_any_scores_give_a_verdict_that_follows_the_rules(
    stage: list[Contender], ratio: float, risk: float, within: float
) -> None:
    incumbent, *others = stage
    able = [each for each in stage if not each.failed and not np.isnan(each.scores).any()]
    try:
        verdict = judge_stage(incumbent, others, ratio, risk, within)
    except UserError as error:
        assert not able
        assert "none can win" in str(error)
        return
    assert verdict.winner in able
    assert (verdict.verdict == "kept") == (verdict.winner is incumbent)
    if verdict.verdict == "adopted" and not incumbent.failed:
        assert verdict.winner.scores.mean() >= incumbent.scores.mean() - 1e-9
    assert [row.setting for row in verdict.evidence] == [each.setting for each in stage]
    assert [row.role for row in verdict.evidence].count("winner") == 1
    for row in verdict.evidence:
        chances = [row.p_worse, row.p_equal, row.p_better]
        assert np.isnan(chances).all() or sum(chances) == pytest.approx(1)
        assert np.isnan(row.low) or row.low <= row.gain <= row.high


@given(stage=stages(), ratio=ratios, risk=risks)
def test_any_race_stops_failures_and_keeps_a_candidate_if_the_incumbent_failed(
    stage: list[Contender], ratio: float, risk: float
) -> None:
    incumbent, *others = stage
    out = raced_out(incumbent, others, ratio, risk)
    assert len(out) == len(others)
    for contender, stopped in zip(others, out, strict=True):
        if contender.failed or np.isnan(contender.scores).any():
            assert stopped  # it lacks a repeat that the incumbent has run
    alive = [each for each in others if not each.failed and not np.isnan(each.scores).any()]
    if incumbent.failed and alive:
        assert not all(out)
