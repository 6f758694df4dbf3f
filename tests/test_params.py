import copy
from pathlib import Path
from typing import Any, get_args

import pytest
from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from ablation.base.checked import ParamsError, read_yaml
from ablation.data.datasets import DATASETS
from ablation.labels import label
from ablation.params import Params, load_params
from ablation.study.entries import list_entries
from ablation.trial.families import FAMILIES, SIZES, MlpSpec
from ablation.trial.recipe import Optimizer, Recipe, Regularization, Sgd, load_recipe, save_recipe

ROOT = Path(__file__).parents[1]
FILE = read_yaml(ROOT / "params.yaml")
Place = tuple[str | int, ...]
MISSING = object()
TECHNIQUES = ", ".join(Recipe.model_fields)
KINDS = get_args(get_args(Optimizer)[0])
OPTIMIZERS = ", ".join(get_args(kind.model_fields["name"].annotation)[0] for kind in KINDS)


def changed(place: Place, value: object) -> Any:
    """params.yaml with one value changed or removed."""
    content = at = copy.deepcopy(FILE)
    for step in place[:-1]:
        at = at[step]
    if value is MISSING:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return content


def load(content: object, folder: Path) -> Params:
    YAML().dump(content, folder / "params.yaml")
    return load_params(folder / "params.yaml")


def complaint(place: Place, value: object, folder: Path) -> str:
    """The error message without the name of the file, which is checked."""
    with pytest.raises(ParamsError) as error:
        load(changed(place, value), folder)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{folder}/params.yaml: ") for line in lines)
    return "\n".join(line.removeprefix(f"{folder}/params.yaml: ") for line in lines)


def test_the_projects_own_file_is_valid() -> None:
    assert load_params(ROOT / "params.yaml").seed == 1729


def test_dvcs_writer_changes_only_the_lines_it_sets(tmp_path: Path) -> None:
    """As `dvc exp run --set-param` edits params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    apply_overrides(str(path), ["seed=1729", "techniques.dropout=[0.0,0.2,0.4]"])
    assert path.read_text() == (ROOT / "params.yaml").read_text()
    apply_overrides(str(path), ["techniques.dropout=[0.0,0.2,0.4,0.6]"])
    before, after = ((p / "params.yaml").read_text().splitlines() for p in (ROOT, tmp_path))
    assert [line for line in after if line not in before] == ["  - 0.6"]
    assert len(after) == len(before) + 1


def test_a_number_set_by_dvc_is_read_unchanged(tmp_path: Path) -> None:
    """`dvc exp run --set-param` writes it without a decimal point, `1e-05`."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    apply_overrides(str(path), ["techniques.regularization=[{l1: 1e-05, l2: 0.0}]"])
    assert "l1: 1e-05\n" in path.read_text()
    (candidate,) = load_params(path).candidates("regularization", "mlp")
    assert candidate.settings == (Regularization(l1=1e-5, l2=0.0),)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            ("techniques", "optimizer", 2, "name"),
            "adamm",
            f"techniques.optimizer[2].name: 'adamm' is not one of {OPTIMIZERS} "
            "(did you mean 'adam'?)",
        ),
        (
            ("techniques", "activation", 1),
            "leakyrelu",
            "techniques.activation[1]: 'leakyrelu' is not one of relu, leaky_relu, elu, gelu, "
            "tanh (did you mean 'leaky_relu'?)",
        ),
        (
            ("data", "dataset"),
            "emnist_mini",
            f"data.dataset: 'emnist_mini' is not one of {', '.join(DATASETS)} "
            "(did you mean 'emnist-mini'?)",
        ),
    ],
)
def test_an_unknown_name(place: Place, value: str, said: str, tmp_path: Path) -> None:
    assert complaint(place, value, tmp_path) == said


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            ("training", "batchsize"),
            "training: 'batchsize' is not one of batch_size, precision, device, workers, machines "
            "(did you mean 'batch_size'?)",
        ),
        (
            ("techniques", "optimizer", 0, "momentun"),
            "techniques.optimizer[0]: 'momentun' is not one of name, lr, momentum "
            "(did you mean 'momentum'?)",
        ),
        (
            ("techniques", "dropouts"),
            f"techniques: 'dropouts' is not one of {TECHNIQUES} (did you mean 'dropout'?)",
        ),
        (
            ("selektion",),
            "'selektion' is not one of seed, data, validation, selection, training, fit, worth, "
            "models, baseline, learning_rate_multiples, techniques, search (did you mean "
            "'selection'?)",
        ),
    ],
)
def test_a_misspelt_key(place: Place, said: str, tmp_path: Path) -> None:
    assert complaint(place, 0.5, tmp_path) == said


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("validation", "repeats"), "five", "validation.repeats: 'five': should be a valid int"),
        (("validation", "repeats"), 2.5, "validation.repeats: 2.5: should be a valid integer"),
        (("baseline", "batchnorm"), "yes", "baseline.batchnorm: 'yes': should be true or false"),
        (("baseline", "dropout"), "one", "baseline.dropout: 'one': should be a valid number"),
        (("baseline", "dropout"), "0.2", "baseline.dropout: '0.2': should be a valid number"),
        (("baseline", "optimizer", "lr"), [0.1], "baseline.optimizer.lr: [0.1]: should be a valid"),
        (("baseline", "scheduler"), "cosine", "baseline.scheduler: 'cosine': should be a mapping"),
        (("techniques", "dropout"), 0.2, "techniques.dropout: 0.2: should be a list"),
        (("techniques", "batchnorm"), [0], "techniques.batchnorm[0]: 0: should be true or false"),
        (("models", "mlp", "hidden"), "512", "models.mlp.hidden: '512': should be a list"),
        (
            ("training", "workers"),
            "all",
            "training.workers: 'all': should be auto or an integer",
        ),
        (("training",), None, "training: None: should be a mapping, {key: value}"),
        (("data", "raw"), 3, "data.raw: 3: should be the path of a folder"),
        (("data", "raw"), "~/emnist", "data.raw: '~/emnist': DVC does not expand `~`; write /"),
        (
            ("data", "raw"),
            "~nobody9/x",
            "data.raw: '~nobody9/x': DVC does not expand `~`; write",
        ),
    ],
)
def test_a_wrong_type(place: Place, value: object, said: str, tmp_path: Path) -> None:
    assert complaint(place, value, tmp_path).startswith(said)
    assert "\n" not in complaint(place, value, tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("baseline", "dropout"), 1.0, "baseline.dropout: 1.0: should be less than or equal to 0"),
        (("techniques", "dropout", 0), 0.99999, "techniques.dropout[0]: 0.99999: should be less"),
        (("techniques", "dropout", 1), -0.1, "techniques.dropout[1]: -0.1: should be greater than"),
        (("baseline", "optimizer", "lr"), 0.0, "baseline.optimizer.lr: 0.0: should be greater tha"),
        (
            ("techniques", "optimizer", 0, "lr", 1),
            -0.1,
            "techniques.optimizer[0].lr: -0.1: should be greater than 0",
        ),
        (
            ("validation", "fraction"),
            1.5,
            "validation.fraction: 1.5: should be less than or equal to",
        ),
        (("models", "mlp", "epochs"), 0, "models.mlp.epochs: 0: should be greater than or equal"),
        (("models", "cnn", "channels", 1), 0, "models.cnn.channels[1]: 0: should be greater than"),
        (("training", "batch_size"), 1, "training.batch_size: 1: should be greater than or equal"),
        (
            ("training", "workers"),
            0,
            "training.workers: 0: should be auto or an integer from 1 to 1024",
        ),
        (("baseline", "dropout"), float("nan"), "baseline.dropout: nan: should be a finite"),
    ],
)
def test_out_of_range(place: Place, value: object, said: str, tmp_path: Path) -> None:
    assert complaint(place, value, tmp_path).startswith(said)


@pytest.mark.parametrize("value", [[], MISSING])
def test_a_technique_without_candidates_is_not_explored(value: object, tmp_path: Path) -> None:
    assert (
        load(changed(("techniques", "dropout"), value), tmp_path).candidates("dropout", "mlp") == ()
    )


MLP_SIZES: Any = SIZES["mlp"]
WIDE, DEEP = {"hidden": [64, 32, 16]}, {"hidden": [32, 24, 16, 16]}


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            {"mpl": [WIDE]},
            "techniques.architecture: 'mpl' is not one of mlp, cnn",
        ),
        (
            {"mlp": [{"width": [9, 8, 7]}]},
            "techniques.architecture.mlp[0]: 'width' is not one of hidden",
        ),
        ({"mlp": [WIDE | {"epochs": 3}]}, "techniques.architecture.mlp[0]: 'epochs' is not one of"),
        (
            {"mlp": [{"hidden": [9, 8]}]},
            "techniques.architecture.mlp[0].hidden: (9, 8): should have at least 3 entries; an MLP "
            "of this study has three hidden layers or more",
        ),
        (
            {"mlp": [WIDE, DEEP, WIDE]},
            "techniques.architecture.mlp: 2 candidates have the label '64-32-16'; keep",
        ),
        ({"mlp": WIDE}, "techniques.architecture.mlp: {'hidden': [64, 32, 16]}: should be a list"),
        (
            {"cnn": [{"channels": [4, 5], "dense": [], "convolutions": 0}]},
            "techniques.architecture.cnn[0].convolutions: 0: should be greater than or equal to 1",
        ),
    ],
)
def test_invalid_sizes(sizes: object, said: str, tmp_path: Path) -> None:
    assert complaint(("techniques", "architecture"), sizes, tmp_path).startswith(said)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"times": 2}, "techniques.epochs[1].augmentation: missing; add it"),
        ({"augmentation": {"name": "none"}}, "techniques.epochs[1].times: missing; add it"),
        (
            {"times": 0, "augmentation": {"name": "none"}},
            "techniques.epochs[1].times: 0: should be greater than or equal to 1",
        ),
        (
            {"times": 2, "augmentation": {"name": "afine"}},
            "techniques.epochs[1].augmentation.name: 'afine' is not one of none, affine, elastic",
        ),
        (1.5, "techniques.epochs[1]: 1.5: should be a valid integer"),
    ],
)
def test_longer_trainings(entry: object, said: str, tmp_path: Path) -> None:
    assert complaint(("techniques", "epochs"), [1, entry], tmp_path).startswith(said)


@pytest.mark.parametrize("key", ["architecture", "epochs"])
def test_the_baseline_gets_its_sizes_and_epochs_from_models(key: str, tmp_path: Path) -> None:
    value = {"architecture": WIDE, "epochs": 2}[key]
    said = f"baseline.{key}: belongs under `models`; remove it"
    assert complaint(("baseline", key), value, tmp_path) == said


@pytest.mark.parametrize("value", [[], {}, {"cnn": []}])
def test_each_family_has_its_own_architectures(value: object, tmp_path: Path) -> None:
    params = load(changed(("techniques", "architecture"), {"mlp": [WIDE, DEEP]}), tmp_path)
    labels = [each.label for each in params.candidates("architecture", "mlp")]
    assert labels == ["64-32-16", "32-24-16-16"]
    assert params.candidates("architecture", "cnn") == ()
    none = load(changed(("techniques", "architecture"), value), tmp_path)
    assert none.candidates("architecture", "cnn") == ()


def test_a_recipes_sizes_and_epochs_are_those_of_its_network(tmp_path: Path) -> None:
    params = load(changed(("models", "mlp"), {"hidden": [9, 8, 7], "epochs": 5}), tmp_path)
    baseline = params.baseline
    assert params.spec("mlp", baseline) == params.spec("mlp") == MlpSpec(hidden=(9, 8, 7), epochs=5)
    assert params.full("mlp", baseline).architecture == MLP_SIZES(hidden=(9, 8, 7))
    other = baseline.having("architecture", MLP_SIZES(hidden=(6, 5, 4))).having("epochs", 3)
    assert params.full("mlp", other) == other
    assert params.spec("mlp", other) == MlpSpec(hidden=(6, 5, 4), epochs=15)


def test_a_recipe_of_another_family_is_refused(tmp_path: Path) -> None:
    params = load(FILE, tmp_path)
    with pytest.raises(ParamsError, match=r"^architecture: '9-8-7' does not fit the family cnn"):
        params.spec("cnn", params.baseline.having("architecture", MLP_SIZES(hidden=(9, 8, 7))))


def test_a_family_that_is_not_listed_is_not_studied(tmp_path: Path) -> None:
    others = tuple(name for name in FILE["models"] if name != "mlp")
    params = load(changed(("models", "mlp"), MISSING), tmp_path)
    assert params.families == others
    with pytest.raises(ParamsError, match=rf"models: 'mlp' is not one of {', '.join(others)}"):
        params.spec("mlp")


def test_a_study_needs_a_family(tmp_path: Path) -> None:
    said = "models: {}: should have the sizes of at least one of " + ", ".join(FAMILIES)
    assert complaint(("models",), {}, tmp_path) == said


def test_a_family_needs_its_sizes(tmp_path: Path) -> None:
    said = "models.mlp: None: should be a mapping, {key: value}"
    assert complaint(("models", "mlp"), None, tmp_path) == said


def test_an_empty_grid(tmp_path: Path) -> None:
    said = "techniques.optimizer[0].lr: an empty list; give a value"
    assert complaint(("techniques", "optimizer", 0, "lr"), [], tmp_path) == said


def test_a_grid_of_names(tmp_path: Path) -> None:
    place = "techniques", "optimizer", 0, "name"
    said = "techniques.optimizer[0].name: a candidate has one name; list one candidate per name"
    assert complaint(place, ["sgd", "adam"], tmp_path) == said


@pytest.mark.parametrize(
    ("technique", "candidates", "name"),
    [
        ("activation", ["relu", "tanh", "relu"], "relu"),
        ("optimizer", [{"name": "sgd", "lr": 0.1}, {"name": "sgd", "lr": 0.1}], "sgd lr=0.1"),
        (
            "optimizer",
            [{"name": "sgd", "lr": [0.1, 0.2]}, {"name": "sgd", "lr": [0.3, 0.4]}],
            "sgd",
        ),
    ],
)
def test_two_candidates_with_the_same_name(
    technique: str, candidates: list[object], name: str, tmp_path: Path
) -> None:
    assert complaint(("techniques", technique), candidates, tmp_path) == (
        f"techniques.{technique}: 2 candidates have the label '{name}'; keep one (its values may "
        "be lists)"
    )


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("search", "epochs", "mlp"), 0, "search.epochs.mlp: 0: should be greater than or equal"),
        (("search", "budget", "cnn"), -1.0, "search.budget.cnn: -1.0: should be greater than 0"),
        (("search", "budget"), {"rnn": 1.0}, "search.budget: 'rnn' is not one of mlp, cnn"),
        (("search", "first_look"), 1.0, "search.first_look: 1.0: should be less than 1"),
        (("search", "finalists_share"), 1, "search.finalists_share: 1: should be less than 1"),
        (("search", "finalists"), 0, "search.finalists: 0: should be greater than or equal to 1"),
        (("search", "strategies"), [], "search.strategies: []: should have at least 1 entries"),
        (("search", "strategies"), ["tpe", "tpe"], "search.strategies: a strategy is given twice"),
    ],
)
def test_a_mistake_in_the_search(place: Place, value: object, said: str, tmp_path: Path) -> None:
    assert complaint(place, value, tmp_path).startswith(said)


ADD = "add it, as docs/search.md explains; a study without a search has no section `search`"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            ("search", "budget", "cnn"),
            MISSING,
            f"search.budget.cnn: missing; {ADD}",
        ),
        (("search", "first_look"), MISSING, f"search.first_look: missing; {ADD}"),
        (
            ("search", "epochs", "mlp"),
            70,
            "search.epochs.mlp: 70 should be a multiple of the 24 epochs of models.mlp; use 72",
        ),
        (
            ("search",),
            MISSING,
            f"search.strategies: missing; {ADD}",
        ),
    ],
)
def test_search_parameters_are_required_only_by_a_search(
    place: Place, value: object, said: str, tmp_path: Path
) -> None:
    """A study without a search need not have it."""
    params = load(changed(place, value), tmp_path)
    with pytest.raises(ParamsError) as error:
        params.search_budget("mlp")
    assert str(error.value) == f"params.yaml: {said}"


@pytest.mark.parametrize(
    "place",
    [
        ("baseline", "dropout"),
        ("techniques",),
        ("training",),
        ("validation", "repeats"),
        ("baseline", "optimizer", "name"),
        ("techniques", "optimizer", 0, "lr"),
    ],
)
def test_a_missing_key(place: Place, tmp_path: Path) -> None:
    said = ".".join(str(step) for step in place).replace(".0", "[0]")
    assert complaint(place, MISSING, tmp_path) == f"{said}: missing; add it"


@pytest.mark.parametrize(
    ("place", "sizes", "said"),
    [
        (
            ("models", "mlp", "hidden"),
            [512, 256],
            "should have at least 3 entries; an MLP of this study has three hidden layers or more",
        ),
        (
            ("models", "cnn", "channels"),
            [32],
            "should have at least 2 entries; a CNN of this study has two convolutional layers or "
            "more",
        ),
        (("models", "cnn", "channels"), [8] * 5, "should have at most 4 entries"),
    ],
)
def test_too_few_or_too_many_layers(
    place: Place, sizes: list[int], said: str, tmp_path: Path
) -> None:
    name = ".".join(str(step) for step in place)
    assert complaint(place, sizes, tmp_path) == f"{name}: {sizes}: {said}"


def test_k_fold_needs_two_repeats(tmp_path: Path) -> None:
    once = {"scheme": "kfold", "fraction": 0.15, "repeats": 1}
    said = "validation.repeats: 1: k-fold needs at least 2 repeats"
    assert complaint(("validation",), once, tmp_path) == said


def test_every_mistake_has_its_own_line(tmp_path: Path) -> None:
    training = {"batch_size": 1, "precision": "bf15", "device": "gpu", "workers": "auto"}
    lines = complaint(("training",), training, tmp_path).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "training.batch_size",
        "training.precision",
        "training.device",
    ]


@pytest.mark.parametrize("content", [b"seed: [1", b"seed:\n\tx: 1", b"\xff\xfe\x00"])
def test_a_file_that_is_not_yaml(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ParamsError, match=r"params\.yaml: invalid YAML: "):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [None, [1], "seed"])
def test_a_file_that_is_not_a_mapping(content: object, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml: .*: should be a mapping"):
        load(content, tmp_path)


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"gone\.yaml: No such file .* the repository's root"):
        load_params(tmp_path / "gone.yaml")


def test_lists_in_a_candidate_make_a_grid(tmp_path: Path) -> None:
    entry = {"name": "sgd", "lr": [0.1, 0.3], "momentum": [0.0, 0.9]}
    (sgd,) = load(changed(("techniques", "optimizer"), [entry]), tmp_path).candidates(
        "optimizer", "mlp"
    )
    assert [(setting.lr, setting.momentum) for setting in sgd.settings] == [
        (0.1, 0.0),
        (0.1, 0.9),
        (0.3, 0.0),
        (0.3, 0.9),
    ]
    assert (sgd.label, sgd.grid) == ("sgd", ("lr", "momentum"))


def test_a_candidate_without_lists_is_one_setting(tmp_path: Path) -> None:
    entry = {"name": "sgd", "lr": [0.1]}
    (sgd,) = load(changed(("techniques", "optimizer"), [entry]), tmp_path).candidates(
        "optimizer", "mlp"
    )
    assert sgd.settings == (Sgd(name="sgd", lr=0.1),)
    assert (sgd.label, sgd.grid) == ("sgd lr=0.1", ())


def test_candidates_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    entries = [{"l1": 0.0, "l2": 0.0}, {"l1": [1e-6, 1e-5], "l2": 0.0}, {"l1": 0.0, "l2": [0.1]}]
    params = load(changed(("techniques", "regularization"), entries), tmp_path)
    candidates = params.candidates("regularization", "mlp")
    assert [candidate.label for candidate in candidates] == ["none", "l1", "l2=0.1"]
    labels = [label(setting) for candidate in candidates for setting in candidate.settings]
    assert labels == ["none", "l1=1e-06", "l1=1e-05", "l2=0.1"]


def test_integers_are_accepted_as_rates(tmp_path: Path) -> None:
    assert load(changed(("baseline", "optimizer", "lr"), 1), tmp_path).baseline.optimizer.lr == 1


def test_a_recipe_survives_a_round_trip(tmp_path: Path) -> None:
    for recipe in every_recipe():
        save_recipe(recipe, tmp_path / "recipe.yaml", "chosen by a test")
        assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert (tmp_path / "recipe.yaml").read_text().startswith("# chosen by a test\nscheduler:\n")


def every_recipe() -> list[Recipe]:
    """The baseline with each candidate setting of params.yaml."""
    params = load_params(ROOT / "params.yaml")
    return [
        entry.recipe
        for technique in Recipe.model_fields
        for entry in list_entries(params, "mlp", technique, params.baseline).entries
    ]


def test_a_recipe_has_the_keys_of_the_baseline(tmp_path: Path) -> None:
    save_recipe(load_params(ROOT / "params.yaml").baseline, tmp_path / "recipe.yaml", "")
    assert read_yaml(tmp_path / "recipe.yaml") == FILE["baseline"]


def test_a_recipe_that_lacks_a_technique(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("activation: relu\n")
    with pytest.raises(ParamsError, match=r"recipe\.yaml: dropout: missing; add it"):
        load_recipe(tmp_path / "recipe.yaml")


MULTIPLES = "learning_rate_multiples"


@pytest.mark.parametrize(
    ("technique", "multiples", "said"),
    [
        ("scheduler", [], ".scheduler: []: should have at least 1 entries"),
        ("scheduler", [0.3, 1.0, 0.3], ".scheduler: a multiple is given twice; keep one"),
        (
            "scheduler",
            [0.3, 3.0],
            ".scheduler: [0.3, 3.0]: should include 1.0, the incumbent's own rate; add it",
        ),
        (
            "optimizer",
            [1.0],
            ".optimizer: its candidates list their learning rates under `techniques`; remove it",
        ),
        ("schedular", [1.0], ": 'schedular' is not one of ~ (did you mean 'scheduler'?)"),
        ("scheduler", [1.0, 0.0], ".scheduler[1]: 0.0: ~"),
        ("scheduler", [1.0, 1e9], ".scheduler[1]: 1000000000.0: ~ 1000"),
        ("scheduler", ["1.0"], ".scheduler[0]: '1.0': ~"),
        ("scheduler", 3.0, ".scheduler: 3.0: ~"),
    ],
)
def test_invalid_multiples(technique: str, multiples: object, said: str, tmp_path: Path) -> None:
    found = complaint((MULTIPLES, technique), multiples, tmp_path)
    start, _, end = said.partition("~")
    assert found.startswith(MULTIPLES + start) and found.endswith(end)


@pytest.mark.parametrize("value", [MISSING, {}])
def test_without_multiples_only_the_incumbents_rate_is_tried(value: object, tmp_path: Path) -> None:
    params = load(changed((MULTIPLES,), value), tmp_path)
    assert {params.rate_multiples(technique) for technique in Recipe.model_fields} == {(1.0,)}


def test_an_optimizer_takes_no_multiples(tmp_path: Path) -> None:
    params = load(changed((MULTIPLES, "scheduler"), [1.0, 2.0]), tmp_path)
    assert params.rate_multiples("scheduler") == (1.0, 2.0)
    assert params.rate_multiples("optimizer") == (1.0,)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("validation", "repeats"), 1, ["validation.repeats: 1: a single repeat does not show"]),
        (("selection", "equal_within"), 0.5, ["selection.equal_within: any two candidates"]),
        (("worth", "repeats"), 5, ["worth.repeats: 5 exceeds validation.repeats, so"]),
        (("worth", "repeats"), 4, []),
    ],
)
def test_valid_values_that_are_probably_mistakes_give_a_warning(
    place: Place, value: float, said: list[str], tmp_path: Path
) -> None:
    warnings = load(changed(place, value), tmp_path).warnings
    assert len(warnings) == len(said)
    for line, start in zip(warnings, said, strict=True):
        assert line.startswith(f"params.yaml: {start}")
