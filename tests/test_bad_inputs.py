"""User errors give one-line messages: no traceback, no partial output."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from PIL import Image

from ablation.base.checked import ParamsError, read_yaml, to_yaml
from ablation.base.console import plain_errors
from ablation.base.files import write_csv
from ablation.data.characters import Characters
from ablation.data.datasets import DATASETS
from ablation.data.splits import make_repeats
from ablation.fitted.model_file import METADATA, pack, unpack
from ablation.params import load_params
from ablation.study.inputs import CHAIN_COLUMNS, make_trial
from ablation.trial.models import build
from ablation.trial.recipe import load_recipe
from ablation.trial.trials import Learnt
from tests.clones import warm_python

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "params.yaml").read_text()
FILE = read_yaml(ROOT / "params.yaml")
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py"))
CLASSES = ("0", "1", "A", "B")
SMALL = {"a": range(40), "b": range(40, 43), "c": range(43, 45)}
LAST = len(TEXT.splitlines())
Place = tuple[str | int, ...]


# --- params.yaml ---------------------------------------------------------------------------------


def having(place: str, value: object) -> str:
    """params.yaml with another value in a place such as `models mlp epochs`."""
    content = at = read_yaml(ROOT / "params.yaml")
    *path, last = (int(step) if step.isdecimal() else step for step in place.split())
    for step in path:
        at = at[step]
    at[last] = value
    return to_yaml(content)


def seed_of(text: str) -> str:
    return TEXT.replace("seed: 1729", f"seed: {text}")


def is_told(said: str, error: str) -> bool:
    """Whether an error is the expected one, in which `~` matches the words of a library."""
    return re.fullmatch(".+".join(map(re.escape, said.split("~"))), error) is not None


NINES = "9" * 5000
SHORT_NINES = f"'{'9' * 37}...{'9' * 38}'"
RESTORE = "`git checkout params.yaml` restores the committed version"
CORRECT = f"correct it, or {RESTORE}"
QUOTE = "correct it, or quote it as a string"
MAPPING = "should be a mapping, {key: value}"
FINITE = "should be a finite number"
SIZES = "techniques.architecture"
WORKERS = "should be auto or an integer from 1 to 1024"
KEYS = ", ".join(FILE)
IN_SCHEDULE = "constant, step, plateau, cosine, onecycle"

WRONG_PARAMS: dict[str, tuple[str, str]] = {
    # the file
    "nothing in it": (
        "",
        f"an empty file: {MAPPING}; {RESTORE}",
    ),
    "a comment alone": (
        "# seed: 1\n",
        f"an empty file: {MAPPING}; {RESTORE}",
    ),
    "a list": ("- 1", f"[1]: {MAPPING}"),
    "a word": ("seed", f"'seed': {MAPPING}"),
    "an open bracket": (
        "seed: [1",
        f"invalid YAML: line 1, column 9: expected ',' or ']', but got '<stream end>'; {CORRECT}",
    ),
    "a tab": (
        "seed:\n\tx: 1",
        "invalid YAML: line 2, column 1: found character '\\t' that cannot start any token; "
        f"{CORRECT}",
    ),
    "a zero byte": (
        "seed: \0",
        "invalid YAML: unacceptable character #x0000: special characters are not allowed in "
        '"<unicode string>", position 6',
    ),
    "3,000 brackets": (
        "[" * 3000,
        "invalid YAML: nested too deeply; remove some of the brackets",
    ),
    "3,000 braces": (
        "{a: " * 3000,
        "invalid YAML: nested too deeply; remove some of the brackets",
    ),
    "a list of itself": ("&a [*a]", f"[[[[[...]]]]]: {MAPPING}"),
    "a key twice": (
        TEXT + "seed: 3\n",
        f'invalid YAML: line {LAST + 1}, column 1: found duplicate key "seed"; keep one',
    ),
    "a list for a key": (TEXT + "? [1]\n: 2\n", f"(1,) is not one of {KEYS}"),
    "a mapping for a key": (
        TEXT + "? {a: 1}\n: 2\n",
        f"invalid YAML: line {LAST + 1}, column 3: found unhashable key; {CORRECT}",
    ),
    "code": (
        seed_of("!!python/object:os.system x"),
        "invalid YAML: line 3, column 7: could not determine a constructor for the tag "
        f"'tag:yaml.org,2002:python/object:os.system'; {CORRECT}",
    ),
    "a number for a key": (TEXT + "5: 6\n", f"5 is not one of {KEYS}"),
    # seed, data
    "5,000 digits": (
        seed_of(NINES),
        f"invalid YAML: line 3, column 7: {SHORT_NINES} is not a valid int; {QUOTE}",
    ),
    "5,000 hexadecimal digits": (
        seed_of("0x" + "f" * 5000),
        "seed: an integer of thousands of digits: ~ 18446744073709551615",
    ),
    "not a date": (
        seed_of("2001-99-99"),
        f"invalid YAML: line 3, column 7: '2001-99-99' is not a valid timestamp; {QUOTE}",
    ),
    "a seed below zero": (seed_of("-1"), "seed: -1: ~ 0"),
    "a seed that is not a number": (seed_of(".nan"), f"seed: nan: {FINITE}"),
    "a list of seeds": (seed_of("[1, 2]"), "seed: [1, 2]: ~integer"),
    "an unknown data set": (
        having("data dataset", "emnist_mini"),
        f"data.dataset: 'emnist_mini' is not one of {', '.join(DATASETS)} (did you mean "
        "'emnist-mini'?)",
    ),
    "an unknown conversion": (
        having("data", {"dataset": "folder", "raw": "data/raw", "conversion": "asis"}),
        "data.conversion: 'asis' is not one of as-is, emnist (did you mean 'as-is'?)",
    ),
    "a test set of nearly all": (
        having("data", {"dataset": "folder", "raw": "data/raw", "test_fraction": 0.9}),
        "data.test_fraction: 0.9: ~ 0.5",
    ),
    "a test seed below zero": (
        having("data", {"dataset": "folder", "raw": "data/raw", "test_seed": -1}),
        "data.test_seed: -1: ~ 0",
    ),
    "a conversion of what has its own": (
        having("data conversion", "emnist"),
        "data.conversion: applies only to the dataset folder; remove it",
    ),
    "a test set of what has its own": (
        having("data test_fraction", 0.2),
        "data.test_fraction: applies only to the dataset folder; remove it",
    ),
    "a folder that is a number": (
        having("data raw", 3),
        "data.raw: 3: should be the path of a folder",
    ),
    "no folder": (
        having("data raw", ""),
        "data.raw: '': should be a folder of its own, such as data/raw",
    ),
    "the project's own folder": (
        having("data raw", "./"),
        "data.raw: './': should be a folder of its own, such as data/raw",
    ),
    "a zero byte in a folder's name": (
        having("data raw", "a\0b"),
        "data.raw: 'a\\x00b': should be a folder of its own, such as data/raw",
    ),
    # validation, selection
    "a billion repeats": (
        having("validation repeats", 10**9),
        "validation.repeats: 1000000000: ~ 1000",
    ),
    "no repeat": (
        having("validation repeats", 0),
        "validation.repeats: 0: ~ 1",
    ),
    "one fold": (
        having("validation", {"scheme": "kfold", "fraction": 0.15, "repeats": 1}),
        "validation.repeats: 1: k-fold needs at least 2 repeats",
    ),
    "nearly all to validate": (
        having("validation fraction", 0.99),
        "validation.fraction: 0.99: ~ 0.5",
    ),
    "nothing to validate": (
        having("validation fraction", 0.0),
        "validation.fraction: 0.0: ~ 0",
    ),
    "a risk of one": (
        having("selection risk", 1.0),
        "selection.risk: 1.0: ~ 0.5",
    ),
    "racing in words": (
        having("selection racing", "yes"),
        "selection.racing: 'yes': should be true or false",
    ),
    # training, fit, worth
    "workers: true": (having("training workers", True), f"training.workers: True: {WORKERS}"),
    "a million workers": (
        having("training workers", 10**6),
        f"training.workers: 1000000: {WORKERS}",
    ),
    "half a worker": (having("training workers", 0.5), f"training.workers: 0.5: {WORKERS}"),
    "a batch of one": (
        having("training batch_size", 1),
        "training.batch_size: 1: ~ 2",
    ),
    "a batch of 8193": (
        having("training batch_size", 8193),
        "training.batch_size: 8193: ~ 8192",
    ),
    "an unknown device": (
        having("training device", "gpu"),
        "training.device: 'gpu' is not one of auto, cpu, cuda (did you mean 'cpu'?)",
    ),
    "a very long word": (
        having("training precision", "b" * 10_000),
        f"training.precision: '{'b' * 37}...{'b' * 38}' is not one of auto, bf16, float32",
    ),
    "a million fits": (
        having("fit seeds", 10**6),
        "fit.seeds: 1000000: ~ 1000",
    ),
    "a million orders": (
        having("worth order_pairs", 10**6),
        "worth.order_pairs: 1000000: ~ 100",
    ),
    # models
    "a billion epochs": (
        having("models mlp epochs", 10**9),
        "models.mlp.epochs: 1000000000: ~ 10000",
    ),
    "a million wide": (
        having("models mlp hidden", [10**6, 256, 128]),
        "models.mlp.hidden[0]: 1000000: ~ 10000",
    ),
    "an unknown family": (
        having("models", {"rnn": {"epochs": 3}}),
        "models: 'rnn' is not one of mlp, cnn (did you mean 'cnn'?)",
    ),
    "no family": (
        having("models", {}),
        "models: {}: should have the sizes of at least one of mlp, cnn",
    ),
    # baseline
    "a rate of zero": (
        having("baseline optimizer lr", 0),
        "baseline.optimizer.lr: 0: ~ 0",
    ),
    "a rate of infinity": (
        having("baseline optimizer lr", float("inf")),
        f"baseline.optimizer.lr: inf: {FINITE}",
    ),
    "a rate in quotes": (
        having("baseline optimizer lr", "1e-3"),
        "baseline.optimizer.lr: '1e-3': should be a valid number",
    ),
    "a dropout that is not a number": (
        having("baseline dropout", float("nan")),
        f"baseline.dropout: nan: {FINITE}",
    ),
    "a scheduler without its keys": (
        having("baseline scheduler", "cosine"),
        f"baseline.scheduler: 'cosine': {MAPPING}",
    ),
    "a scheduler without a name": (
        having("baseline scheduler", {}),
        "baseline.scheduler.name: missing; add it",
    ),
    "patience below zero": (
        having("baseline scheduler", {"name": "plateau", "patience": -1}),
        "baseline.scheduler.patience: -1: ~ 0",
    ),
    "sizes in the baseline": (
        having("baseline architecture", {"hidden": [9, 8, 7]}),
        "baseline.architecture: belongs under `models`; remove it",
    ),
    # techniques
    "no techniques": (having("techniques", None), f"techniques: None: {MAPPING}"),
    "a misspelt scheduler": (
        having("techniques scheduler 3 name", "cosin"),
        f"techniques.scheduler[3].name: 'cosin' is not one of {IN_SCHEDULE} (did you mean "
        "'cosine'?)",
    ),
    "a grid of 1,001 rates": (
        having("techniques optimizer", [{"name": "sgd", "lr": [n / 999 for n in range(1, 1002)]}]),
        "techniques.optimizer[0]: a grid of 1001 settings; at most 1000 are allowed",
    ),
    "rates that a label does not tell apart": (
        having("techniques optimizer", [{"name": "sgd", "lr": [0.1, 0.10000001]}]),
        "techniques.optimizer[0]: 2 candidates have the label 'sgd lr=0.1'; keep one (its values "
        "may be lists)",
    ),
    "an architecture without a family": (
        having("techniques architecture", [{"hidden": [9, 8, 7]}]),
        f"{SIZES}: [{{'hidden': [9, 8, 7]}}]: {MAPPING}",
    ),
    "an architecture of another family": (
        having("techniques architecture", {"cnn": [{"hidden": [9, 8, 7]}]}),
        f"{SIZES}.cnn[0]: 'hidden' is not one of channels, dense, convolutions",
    ),
    "an architecture of a word": (
        having("techniques architecture", "wide"),
        f"{SIZES}: 'wide': {MAPPING}",
    ),
    "five halvings of an image": (
        having("techniques architecture", {"cnn": [{"channels": [8] * 5, "dense": []}]}),
        f"{SIZES}.cnn[0].channels: (8, 8, 8, 8, 8): should have at most 4 entries",
    ),
    "an unknown augmentation": (
        having("techniques augmentation", [{"name": "afine"}]),
        "techniques.augmentation[0].name: 'afine' is not one of none, affine, elastic (did you "
        "mean 'affine'?)",
    ),
    "an augmentation of a word": (
        having("techniques augmentation", ["none"]),
        f"techniques.augmentation[0]: 'none': {MAPPING}",
    ),
    "two full turns": (
        having("techniques augmentation", [{"name": "affine", "rotation": 720}]),
        "techniques.augmentation[0].rotation: 720: ~ 180",
    ),
    "a push of nothing": (
        having("techniques augmentation", [{"name": "elastic", "push": 0}]),
        "techniques.augmentation[0].push: 0: ~ 0",
    ),
    "smoothing all away": (
        having("techniques smoothing", [1.0]),
        "techniques.smoothing[0]: 1.0: ~ 1",
    ),
    "an unknown average": (
        having("techniques averaging", [{"name": "swa"}]),
        "techniques.averaging[0].name: 'swa' is not one of none, ema",
    ),
    "an average over nothing": (
        having("techniques averaging", [{"name": "ema", "horizon": 0}]),
        "techniques.averaging[0].horizon: 0: ~ 0",
    ),
    "half as long": (
        having("techniques epochs", [1, 0.5]),
        "techniques.epochs[1]: 0.5: ~integer",
    ),
    "not at all": (
        having("techniques epochs", [0]),
        "techniques.epochs[0]: 0: ~ 1",
    ),
    "2,000 times as long": (
        having("techniques epochs", [1, 2000]),
        f"techniques.epochs: 2000 times the {FILE['models']['mlp']['epochs']} epochs of models.mlp "
        "exceeds 10000; use a smaller factor",
    ),
}


@pytest.mark.parametrize(("text", "said"), WRONG_PARAMS.values(), ids=WRONG_PARAMS)
def test_a_mistake_in_params_is_a_one_line_error_with_a_remedy(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text)
    with pytest.raises(ParamsError) as error:
        load_params()
    assert is_told(f"params.yaml: {said}", str(error.value))


def test_a_billion_laughs_file_is_refused_immediately(tmp_path: Path) -> None:
    """Each line is ten times the previous one; expanded, it would exhaust the memory."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for old, new in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]")
    (tmp_path / "params.yaml").write_text("\n".join([*lines, "seed: *j"]))
    with pytest.raises(ParamsError, match="'a' is not one of seed, data"):
        load_params(tmp_path / "params.yaml")


# --- stages --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(toy: Characters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs of all stages, of a study of the toy."""
    folder = tmp_path_factory.mktemp("sound")
    content = read_yaml(ROOT / "params.yaml")
    content["data"]["dataset"] = "glyphs"
    content["validation"] = {"scheme": "shuffle", "fraction": 0.25, "repeats": 2}
    content["worth"]["repeats"] = 2
    content["training"] |= {"batch_size": 25, "precision": "float32", "device": "cpu", "workers": 1}
    content["models"] = {
        "mlp": {"hidden": [16, 12, 8], "epochs": 1},
        "cnn": {"channels": [4, 6], "dense": [8], "epochs": 1},
    }
    (folder / "params.yaml").write_text(to_yaml(content))
    (folder / "recipe.yaml").write_text(to_yaml(content["baseline"]))
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = load_params(folder / "params.yaml")
    row = {"stage": "baseline", "winner": "baseline", "verdict": "kept", "accuracy": 0.5}
    write_csv(pd.DataFrame([row], columns=CHAIN_COLUMNS), folder / "chain.csv")
    write_csv(pd.DataFrame({"train_seconds": [1.0]}), folder / "times.csv")
    won = pd.DataFrame({"setting": ["relu"], "role": "winner", "temperature": 0.9})
    write_csv(won, folder / "stage/candidates.csv")
    write_csv(won, folder / "stage/trials.csv")
    for name in ("train", "test"):
        toy.save(folder / f"data/prepared/{name}.npz")
    for model in ("mlp", "cnn"):
        trial = make_trial(params, model, params.baseline, make_repeats(1, "shuffle", 0.5, 1)[0])
        state = build(trial.spec, trial.recipe, len(CLASSES), seed=1).state_dict()
        learnt = Learnt(0.2, 0.3, {name: v.contiguous().numpy() for name, v in state.items()})
        (folder / model).mkdir()
        (folder / model / "1.safetensors").write_bytes(pack(trial, learnt, CLASSES, "emnist"))
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to be damaged, as working folder."""
    shutil.copytree(sound, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "study"


COMMANDS = {
    "search": "--model mlp --strategy random",
    "contest": "--model mlp --chain-recipe recipe.yaml --chain chain.csv --answer tpe",
    "search_report": "--last averaging_again",
    "check": "",
    "technique": "--model mlp --stage dropout --incumbent recipe.yaml --chain chain.csv",
    "leave_one_out": "--model mlp --recipe recipe.yaml --chain chain.csv",
    "fit": "--model mlp --recipe recipe.yaml --trials stage --baseline-trials stage",
    "evaluate": "--model mlp --released mlp/1.safetensors --seeds mlp --baseline mlp "
    "--times times.csv",
    "compare": "--last averaging_again",
    "prepare": "",
    "report": "",
}


def files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def complaint(stage: str, options: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run `python stages/...` in this process; returns its error message. It must write nothing."""
    monkeypatch.setattr(sys, "argv", [f"stages/{stage}.py", *options.split()])
    before = files()
    with pytest.raises(SystemExit) as end, plain_errors():
        importlib.import_module(f"stages.{stage}").main()
    assert files() == before
    assert isinstance(end.value.code, str), end.value
    return end.value.code


RELEASED = "--model mlp --released mlp/1.safetensors"
Damage = Callable[[], object]
AGAIN = "`dvc repro` recreates it"


def make_folder(name: str) -> None:
    Path(name).unlink()
    Path(name).mkdir()


def edit_yaml(name: str, **values: Any) -> Path:
    content = read_yaml(Path(name))
    return write(name, to_yaml(content | values))


def edit_training(**values: Any) -> None:
    edit_yaml("params.yaml", training=read_yaml(Path("params.yaml"))["training"] | values)


def edit_model(change: Callable[[dict[str, Any]], object]) -> None:
    """Replace text in the metadata of the model that is evaluated."""
    path = Path("mlp/1.safetensors")
    about, tensors = unpack(path)
    content = json.loads(about.to_json())
    change(content)
    path.write_bytes(safetensors.numpy.save(tensors, {METADATA: json.dumps(content)}))


def edit_weights(change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = Path("mlp/1.safetensors")
    about, tensors = unpack(path)
    change(tensors)
    path.write_bytes(safetensors.numpy.save(tensors, {METADATA: about.to_json()}))


def write(name: str, text: str = "") -> Path:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return Path(name)


def write_chain(*stages: str) -> None:
    write_csv(pd.DataFrame({"stage": stages}).reindex(columns=CHAIN_COLUMNS), Path("chain.csv"))


NOT_WRITTEN = "not in the format that a stage writes"
NO_MODEL = "mlp/1.safetensors: not a valid model file; recreate it with `dvc repro fit`"
MISSING = (
    "No such file or directory; run from the repository's root; `dvc repro` writes the inputs of "
    "a stage"
)
ROOM = "name a file, or move the folder away"
TRAIN = "data/prepared/train.npz"

WRONG_FILES: dict[str, tuple[str, Damage, str]] = {
    # recipes
    "no recipe": ("technique", lambda: Path("recipe.yaml").unlink(), f"recipe.yaml: {MISSING}"),
    "an empty recipe": (
        "fit",
        lambda: write("recipe.yaml"),
        f"recipe.yaml: an empty file: {MAPPING}; `git checkout recipe.yaml` restores the committed "
        "version",
    ),
    "a folder for a recipe": (
        "leave_one_out",
        lambda: make_folder("recipe.yaml"),
        f"recipe.yaml: Is a directory; {ROOM}",
    ),
    "a recipe by hand, misspelt": (
        "technique",
        lambda: edit_yaml("recipe.yaml", activation="rely"),
        "recipe.yaml: activation: 'rely' is not one of relu, leaky_relu, elu, gelu, tanh (did you "
        "mean 'relu'?)",
    ),
    "a recipe with a key too many": (
        "fit",
        lambda: edit_yaml("recipe.yaml", droput=0.1),
        f"recipe.yaml: 'droput' is not one of {', '.join(FILE['techniques'])} (did you mean "
        "'dropout'?)",
    ),
    "a recipe of the other family": (
        "technique",
        lambda: edit_yaml("recipe.yaml", architecture={"channels": [4, 5], "dense": []}),
        "recipe.yaml: architecture: '4-5' does not fit the family mlp; the recipe was written for "
        "another one",
    ),
    "a recipe that trains too long": (
        "fit",
        lambda: (
            edit_yaml("recipe.yaml", epochs=2000),
            edit_yaml("params.yaml", models={"mlp": {"hidden": [9, 8, 7], "epochs": 6}}),
        ),
        "recipe.yaml: epochs: 2000 times the 6 epochs of models.mlp in params.yaml exceeds 10000; "
        "use a smaller factor",
    ),
    # the chain so far
    "no chain": ("technique", lambda: Path("chain.csv").unlink(), f"chain.csv: {MISSING}"),
    "an empty chain": (
        "technique",
        lambda: write("chain.csv"),
        f"chain.csv: {NOT_WRITTEN} (~); {AGAIN}",
    ),
    "a chain without rows": (
        "leave_one_out",
        lambda: write_chain(),
        f"chain.csv: {NOT_WRITTEN} (a table without rows); {AGAIN}",
    ),
    "a chain that is another table": (
        "technique",
        lambda: write("chain.csv", "stage,winner\nbaseline,baseline\n"),
        f"chain.csv: {NOT_WRITTEN} (a table without verdict, accuracy, gain, low, high); {AGAIN}",
    ),
    "a chain of unknown stages": (
        "leave_one_out",
        lambda: write_chain("baseline", "droput"),
        f"chain.csv: stage: 'droput' is not one of ~ (did you mean 'dropout'?); ~; {AGAIN}",
    ),
    "a chain with a stage twice": (
        "leave_one_out",
        lambda: write_chain("baseline", "dropout", "dropout"),
        "chain.csv: stages baseline, dropout, dropout: should be the baseline and then others, "
        f"each once; {AGAIN}",
    ),
    "a chain that has been there": (
        "technique",
        lambda: write_chain("baseline", "dropout"),
        "chain.csv: already contains dropout; pass the file of the stage before it",
    ),
    # the pipeline of a search
    "a search whose answer is not that of the last strategy": (
        "contest",
        lambda: edit_yaml("params.yaml", search=FILE["search"] | {"strategies": ["tpe", "random"]}),
        "search/dvc.yaml: vars: answer: tpe, but the last of search.strategies in params.yaml is "
        "random; make them the same",
    ),
    "a search of one family whose report depends on another": (
        "search",
        lambda: (
            edit_yaml("params.yaml", models={"mlp": {"hidden": [9, 8, 7], "epochs": 1}}),
            write("search/dvc.yaml", (ROOT / "search/dvc.yaml").read_text()),
        ),
        "search/dvc.yaml: stages.report.deps: data/recipes/cnn does not exist, and no stage makes "
        "it without its model in params.yaml; delete the lines of this model's files",
    ),
    # characters
    "no characters": (
        "technique",
        lambda: Path(TRAIN).unlink(),
        f"{TRAIN}: no such file (run `dvc repro prepare` to create it)",
    ),
    "characters cut off": (
        "fit",
        lambda: Path(TRAIN).write_bytes(Path(TRAIN).read_bytes()[:1000]),
        f"{TRAIN}: it is not a readable npz archive (~) (delete it and run "
        "`dvc repro prepare` to recreate it)",
    ),
    "a batch larger than the training part": (
        "leave_one_out",
        lambda: edit_training(batch_size=301),
        "params.yaml: training.batch_size: 301 exceeds the 300 training characters of a trial; use "
        "at most 300",
    ),
    # a person's own pictures
    "no folders of pictures": (
        "prepare",
        lambda: own_pictures({}),
        "pictures: has no folder train and no folder test; put the pictures into train/CLASS and "
        "test/CLASS, or set data.raw in params.yaml to a folder of classes and add "
        "`test_fraction: 0.2` to split it",
    ),
    "two folders of pictures, and a share of one": (
        "prepare",
        lambda: own_pictures({"train/a/1.png": 1, "test/a/2.png": 2}, test_fraction=0.25),
        "params.yaml: data.test_fraction: 0.25, but pictures has the folders train and test; "
        "remove test_fraction, or set data.raw to the folder of the classes",
    ),
    "a single class": (
        "prepare",
        lambda: own_pictures({"a/1.png": 1, "a/2.png": 2}, test_fraction=0.25),
        "pictures: 1 folder, expected 2 to 1,000: one per class, named after it and "
        "containing its pictures",
    ),
    "classes that the test lacks, or has alone": (
        "prepare",
        lambda: own_pictures({"train/a/1.png": 1, "train/b/2.png": 2, "test/c/3.png": 3}),
        "pictures/train: no folder 'c', but test has one; both need pictures of every class\n"
        "pictures/test: no folder 'a', but train has one; both need pictures of every class\n"
        "pictures/test: no folder 'b', but train has one; both need pictures of every class",
    ),
    "files that are no pictures, all of them": (
        "prepare",
        lambda: (
            own_pictures({"a/1.png": 1, "a/2.png": 2, "b/3.png": 3}, test_fraction=0.25),
            write("pictures/a/0.png", "text"),
            write("pictures/b/notes.txt", "text"),
        ),
        "pictures/a/0.png: not an image that can be read; save it as PNG or JPEG\n"
        "pictures/b/notes.txt: not an image that can be read; save it as PNG or JPEG",
    ),
    "an empty page among drawings": (
        "prepare",
        lambda: own_pictures(
            {"a/1.png": 1, "a/0.png": None, "b/2.png": 2}, test_fraction=0.25, conversion="emnist"
        ),
        "pictures/a/0.png: no writing found; write one character, larger than a speck",
    ),
    "a class of one picture": (
        "prepare",
        lambda: own_pictures({"a/1.png": 1, "a/2.png": 2, "b/3.png": 3}, test_fraction=0.25),
        "pictures/b: needs two different pictures, one for training and one for testing; add one",
    ),
    "classes too small to be split": (
        "prepare",
        lambda: own_pictures(
            {f"train/{name}/{n}.png": n for name, numbers in SMALL.items() for n in numbers}
            | {f"test/{name}/0.png": 100 + place for place, name in enumerate(SMALL)}
        ),
        "params.yaml: validation.fraction: 0.25 needs at least 4 training pictures per class; "
        "classes with fewer: b (3), c (2); add some, or use a fraction closer to one half",
    ),
    "pictures that are all grey": (
        "prepare",
        lambda: own_pictures(
            {f"{part}/{name}/0.png": None for part in ("train", "test") for name in "ab"}
        ),
        "pictures/train/a/0.png and all other pictures are the same uniform grey, so there is "
        "nothing to learn",
    ),
    "fewer pictures than a batch has": (
        "prepare",
        lambda: own_pictures(
            {f"{name}/{number}.png": number for name in "ab" for number in range(8)},
            test_fraction=0.25,
        ),
        "params.yaml: training.batch_size: 25 exceeds the 9 training pictures of a trial; use at "
        "most 9",
    ),
    # models
    "no model": (
        "evaluate",
        lambda: Path("mlp/1.safetensors").unlink(),
        "mlp/1.safetensors: no such file; `dvc repro fit` creates it",
    ),
    "a folder for a model": (
        "evaluate",
        lambda: make_folder("mlp/1.safetensors"),
        "mlp/1.safetensors: a folder; give a file written by `dvc repro fit`",
    ),
    "a model cut off": (
        "evaluate",
        lambda: Path("mlp/1.safetensors").write_bytes(Path("mlp/1.safetensors").read_bytes()[:-9]),
        f"{NO_MODEL} (~)",
    ),
    "a model without metadata": (
        "evaluate",
        lambda: write_bare_model(),
        f"{NO_MODEL} (it has no metadata 'ablation')",
    ),
    "a model of the other family": (
        "evaluate",
        lambda: shutil.copy("cnn/1.safetensors", "mlp/1.safetensors"),
        "mlp/1.safetensors: a model of the family cnn, but --model is mlp; pass a file of the mlp",
    ),
    "a model of no family": (
        "evaluate",
        lambda: edit_model(lambda content: content.update(model="rnn")),
        f"{NO_MODEL} (model: 'rnn' is not one of mlp, cnn (did you mean 'cnn'?))",
    ),
    "a model that divides by zero": (
        "evaluate",
        lambda: edit_model(lambda content: content["normalisation"].update(deviation=0)),
        f"{NO_MODEL} (normalisation.deviation: 0: ~ 0.001)",
    ),
    "a model normalised by a word": (
        "evaluate",
        lambda: edit_model(lambda content: content["normalisation"].update(mean="grey")),
        f"{NO_MODEL} (normalisation.mean: 'grey': ~number)",
    ),
    "a model of no temperature": (
        "evaluate",
        lambda: edit_model(lambda content: content.update(temperature=0)),
        f"{NO_MODEL} (temperature: 0: ~ 0.1)",
    ),
    "trials without temperatures": (
        "fit",
        lambda: write("stage/trials.csv", "setting,repeat\nrelu,0\n"),
        f"stage/trials.csv: {NOT_WRITTEN} (a table without temperature); {AGAIN}",
    ),
    "a class twice": (
        "evaluate",
        lambda: edit_model(lambda content: content.update(classes=["0", "1", "1", "B"])),
        f"{NO_MODEL} (classes: '1' is listed twice)",
    ),
    "a model of other classes": (
        "evaluate",
        lambda: edit_model(lambda content: content.update(classes=["0", "1", "A", "C"])),
        "mlp/1.safetensors: a model of the classes 0 1 A C, but data/prepared/test.npz has 0 1 A "
        "B; `dvc repro` fits a new one",
    ),
    "a model of more classes than it has outputs": (
        "evaluate",
        lambda: edit_model(lambda content: content["classes"].append("Z")),
        f"{NO_MODEL} (13.weight: shape (4, 8), but the network in its metadata has (5, 8))",
    ),
    "a model of 300 million weights by its metadata": (
        "evaluate",
        lambda: edit_model(lambda content: content["spec"].update(hidden=[10_000] * 4)),
        f"{NO_MODEL} (1.weight: shape (16, 784), but the network in its metadata has (10000, 784))",
    ),
    "weights that are no numbers": (
        "evaluate",
        lambda: edit_weights(lambda tensors: tensors["1.weight"].fill(np.nan)),
        f"{NO_MODEL} (1.weight: not all of its weights are finite numbers)",
    ),
    "weights too large to compute with": (
        "evaluate",
        lambda: edit_weights(lambda tensors: tensors.update(huge_weights(tensors))),
        f"{NO_MODEL} (its outputs are not finite)",
    ),
    "a weight too few": (
        "evaluate",
        lambda: edit_weights(lambda tensors: tensors.pop("13.bias")),
        f"{NO_MODEL} (13.bias: shape missing, but the network in its metadata has (4,))",
    ),
    "no test set": (
        "evaluate",
        lambda: Path("data/prepared/test.npz").unlink(),
        "data/prepared/test.npz: no such file (run `dvc repro prepare` to create it)",
    ),
    "no times": ("evaluate", lambda: Path("times.csv").unlink(), f"times.csv: {MISSING}"),
    # the pipeline and the results
    "no pipeline": ("check", lambda: Path("dvc.yaml").unlink(), f"dvc.yaml: {MISSING}"),
    "an empty pipeline": (
        "check",
        lambda: write("dvc.yaml"),
        "dvc.yaml: stages: should be a mapping, {name: stage}",
    ),
    "no results to compare": (
        "compare",
        lambda: None,
        f"plots/mlp/averaging_again/chain.csv: {MISSING}",
    ),
    "results that are no JSON": (
        "compare",
        lambda: (
            write("plots/mlp/averaging_again/chain.csv", "stage\nbaseline\n"),
            write("metrics/mlp/test.json", "{"),
        ),
        f"metrics/mlp/test.json: {NOT_WRITTEN} (~); {AGAIN}",
    ),
    "results that lack a number": (
        "compare",
        lambda: (
            write("plots/mlp/averaging_again/chain.csv", "stage\nbaseline\n"),
            write("metrics/mlp/test.json", '{"accuracy": 0.5, "recall": 0.5, "f1": 0.5}'),
        ),
        f"metrics/mlp/test.json: {NOT_WRITTEN} (without precision); {AGAIN}",
    ),
}


def own_pictures(pictures: Mapping[str, int | None], **data: object) -> Path:
    """A study of a folder of pictures: noise seeded by their number, or uniform white."""
    edit_yaml("params.yaml", data={"dataset": "folder", "raw": "pictures"} | data)
    Path("pictures").mkdir()
    for name, number in pictures.items():
        path = Path("pictures", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        values = rng.integers(0, 256, (28, 28)) if number is not None else np.full((28, 28), 255)
        Image.fromarray(values.astype(np.uint8)).save(path)
    return Path("pictures")


def write_bare_model() -> None:
    _, tensors = unpack(Path("mlp/1.safetensors"))
    Path("mlp/1.safetensors").write_bytes(safetensors.numpy.save(tensors))


def huge_weights(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kernels = (name for name, values in tensors.items() if values.ndim == 2)
    return {name: np.full(tensors[name].shape, 1e30, np.float32) for name in kernels}


@pytest.mark.parametrize(("stage", "damage", "said"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_an_unusable_file_is_a_one_line_error(
    stage: str, damage: Damage, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage()
    assert is_told(f"error: {said}", complaint(stage, COMMANDS[stage], monkeypatch))


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        (
            "evaluate",
            f"{RELEASED} --seeds none --baseline mlp --times times.csv",
            "none: contains no models (1.safetensors, ...); the stage `fit` creates them",
        ),
        (
            "evaluate",
            f"{RELEASED} --seeds mlp --baseline data --times times.csv",
            "data: contains no models (1.safetensors, ...); the stage `fit` creates them",
        ),
        (
            "technique",
            "--model mlp --stage dropout --incumbent recipe.yaml --chain data",
            f"data: Is a directory; {ROOM}",
        ),
        (
            "fit",
            "--model mlp --recipe none.yaml --trials stage --baseline-trials stage",
            f"none.yaml: {MISSING}",
        ),
        (
            "fit",
            "--model mlp --recipe recipe.yaml --trials none --baseline-trials stage",
            f"none/candidates.csv: {MISSING}",
        ),
        (
            "fit",
            "--model mlp --recipe mlp/1.safetensors --trials stage --baseline-trials stage",
            "mlp/1.safetensors: invalid YAML: 'utf-8' codec can't decode byte",
        ),
        (
            "leave_one_out",
            "--model mlp --recipe recipe.yaml --chain none.csv",
            f"none.csv: {MISSING}",
        ),
        ("compare", "--last droput", f"plots/mlp/droput/chain.csv: {MISSING}"),
    ],
)
def test_a_command_line_with_unknown_names(
    stage: str, options: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert complaint(stage, options, monkeypatch).startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        ("technique", "--model rnn --stage dropout", "argument --model: invalid choice: 'rnn'"),
        ("technique", "--model mlp --stage droput", "argument --stage: 'droput' is not one of"),
        ("technique", "--model mlp --stage baseline_again", "'baseline_again' is not one of"),
        ("technique", "--stage dropout", "the following arguments are required: --model"),
        (
            "technique",
            "--model mlp --stage dropout --incumbent recipe.yaml",
            "every stage except the baseline needs --incumbent and --chain",
        ),
        (
            "technique",
            "--model mlp --stage baseline --incumbent recipe.yaml --chain chain.csv",
            "the baseline is the first stage: remove --incumbent and --chain",
        ),
        (
            "fit",
            "--model mlp",
            "the following arguments are required: --recipe, --trials, --baseline-trials",
        ),
        ("evaluate", "--model mlp", "required: --released, --seeds, --baseline, --times"),
    ],
)
def test_an_invalid_command_line(
    stage: str,
    options: str,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [f"stages/{stage}.py", *options.split()])
    before = files()
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"stages.{stage}").main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert files() == before


def test_a_file_in_the_place_of_the_cache_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATION_CACHE", str(folder / "times.csv"))
    said = complaint("technique", COMMANDS["technique"], monkeypatch)
    assert said == (
        f"error: {folder}/times.csv: a file, but trials are cached in a folder; set ABLATION_CACHE "
        "to another path, or move the file away"
    )


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("params.yaml").chmod(0)
    said = complaint("fit", COMMANDS["fit"], monkeypatch)
    assert said == "error: params.yaml: Permission denied; change its permissions (chmod, chown)"


def test_families_tested_on_different_characters(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model, actual in (("mlp", "01"), ("cnn", "10")):
        write(f"plots/{model}/averaging_again/chain.csv", "stage\nbaseline\n")
        write(f"metrics/{model}/test.json", '{"accuracy": 0, "recall": 0, "f1": 0, "precision": 0}')
        write(
            f"plots/{model}/test/details.csv", "top2,seeds_mean,seeds_spread,parameters\n1,1,1,1\n"
        )
        rows = "".join(f"{character},0\n" for character in actual)
        write(f"plots/{model}/test/predictions.csv", f"actual,predicted\n{rows}")
        write(f"plots/{model}/test/report.csv", "class,recall\n0,1\n1,0\n")
        write(f"plots/{model}/test/correct.csv", "final 1\n1\n1\n")
        write(f"data/times/{model}/test.csv", "train_seconds,predict_seconds\n1,1\n")
    assert complaint("compare", COMMANDS["compare"], monkeypatch) == (
        "error: plots/mlp/test/predictions.csv and plots/cnn/test/predictions.csv are of different "
        "test sets; `dvc repro` tests both on one"
    )


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "code"])
def test_a_stage_that_cannot_start_exits_with_one_line_and_a_status(
    stage: str, tmp_path: Path
) -> None:
    """An empty params.yaml, which every stage except `code` reads."""
    (tmp_path / "params.yaml").write_text("")
    command = [*warm_python(str(ROOT / "stages" / f"{stage}.py")), *COMMANDS[stage].split()]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: an empty file")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_the_undamaged_folder_is_accepted(folder: Path) -> None:
    """The errors above are due to the damage, not to the folder."""
    load_recipe(Path("recipe.yaml"))
    command = [*warm_python(str(ROOT / "stages/evaluate.py")), *COMMANDS["evaluate"].split()]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
