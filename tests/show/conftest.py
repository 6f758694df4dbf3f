"""A small study with made-up numbers: every file that the report reads, of three families."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.data.datasets import Dataset
from ablation.judge.evaluation import most_confused
from ablation.show.report import write_charts, write_pictures
from ablation.show.story import write_report
from ablation.show.study import Study

REPOSITORY = Path(__file__).parents[2]
NOTE = "Made from toys: a stand-in for real pictures."


TOYS = Dataset("no_toys:load", "none", look_alikes={"1/t": "1t"}, note=NOTE)
CLASSES = ["0", "1", "A", "N", "b", "t", "q"]
MODELS = ("mlp", "cnn", "rnn")
RIGHT = {"mlp": 0.84, "cnn": 0.89, "rnn": 0.86}
EPOCHS = {"mlp": 12, "cnn": 8, "rnn": 10}
BASELINE = {
    "baseline": "baseline", "scheduler": "constant", "activation": "relu",
    "optimizer": "adam lr=0.001", "batchnorm": "on", "regularization": "l2=0.0001",
    "dropout": "0.2",
}  # fmt: skip
WINNERS = BASELINE | {
    "scheduler": "plateau factor=0.3 patience=2", "activation": "leaky_relu",
    "optimizer": "rmsprop lr=0.0003 alpha=0.99", "regularization": "l1=1e-06",
}  # fmt: skip
OTHERS: dict[str, list[str]] = {
    "baseline": [],
    "scheduler": ["step every=0.33 gamma=0.3", "cosine", "onecycle"],
    "activation": ["elu", "gelu", "tanh"],
    "optimizer": ["sgd lr=0.1 momentum=0.9", "sgd lr=0.03 momentum=0.9", "adam lr=0.003",
                  "adamw lr=0.003", "adagrad lr=0.01", "adadelta lr=3", "asgd lr=0.1",
                  "rmsprop lr=0.001 alpha=0.99", "lion lr=0.0001", "nadam lr=0.001"],
    "batchnorm": ["off"],
    "regularization": ["none", "l1=1e-05", "l2=1e-05"],
    "dropout": ["none", "0.4"],
}  # fmt: skip
COLLAPSED, DIVERGED = "tanh", "off"


@dataclass
class Visit:
    """A page that has drawn its charts, its console messages and its network requests."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def texts(self, place: str) -> list[str]:
        texts: list[str] = self.page.locator(place).all_text_contents()
        return texts


Open = Callable[[Path], Visit]


def _run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


_dvc = partial(_run, sys.executable, "-m", "dvc")
_git = partial(_run, "git", "-c", "user.name=a", "-c", "user.email=a@b")


def _csv(path: Path, rows: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def _json(path: Path, numbers: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2) + "\n")


def _candidates(technique: str, score: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    incumbent, winner = BASELINE[technique], WINNERS[technique]
    rows: list[dict[str, Any]] = []
    for setting in dict.fromkeys([incumbent, winner, *OTHERS[technique]]):
        broken = setting in (COLLAPSED, DIVERGED)
        gain = -0.8 if broken else 0.004 - (setting != winner) * rng.uniform(0.001, 0.02)
        first, reach = setting == incumbent, rng.uniform(0.001, 0.004)
        rows.append({
            "candidate": setting.split()[0], "setting": setting,
            "role": "winner" if setting == winner else "incumbent" if first else "candidate",
            "accuracy": score if first else score + gain, "spread": 0.003,
            "parameters": 575_663, "finding": "" if first or broken else "within the noise",
            "gain": None if first else gain, "low": None if first else gain - reach,
            "high": None if first else gain + reach, "repeats": 5, "diverged": setting == DIVERGED,
            "won_grid": not broken, "grid_edge": False, "raced_out": setting == "none",
            "collapsed": setting == COLLAPSED,
        })  # fmt: skip
    return rows


def _stages(root: Path, model: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    score, chain = RIGHT[model], []
    for technique, winner in WINNERS.items():
        candidates = _candidates(technique, score, rng)
        curves = [
            {
                "setting": row["setting"], "epoch": epoch,
                "train_loss": 2.4 * epoch**-0.9, "validation_loss": 0.35 + 2.1 * epoch**-0.9,
                "train_accuracy": row["accuracy"] + 0.06 - 0.5 / epoch,
                "validation_accuracy": row["accuracy"] - 0.3 / epoch + 0.3 / EPOCHS[model],
            }
            for row in candidates for epoch in range(1, EPOCHS[model] + 1)
            if row["setting"] != DIVERGED or epoch == 1
        ]  # fmt: skip
        _csv(root / f"plots/{model}/{technique}/candidates.csv", candidates)
        _csv(root / f"plots/{model}/{technique}/curves.csv", curves)
        [won] = [row for row in candidates if row["role"] == "winner"]
        score, adopted = won["accuracy"], winner != BASELINE[technique]
        chain.append({
            "stage": technique, "winner": winner, "verdict": "adopted" if adopted else "kept",
            "accuracy": score, "gain": won["gain"], "low": won["low"], "high": won["high"],
        })  # fmt: skip
        _csv(root / f"plots/{model}/{technique}/chain.csv", chain)
        _trials(root, model, technique, candidates)
        _times(root, model, technique, [row["setting"] for row in candidates])
    return [{"model": model} | row for row in chain]


def _trials(root: Path, model: str, stage: str, candidates: list[dict[str, Any]]) -> None:
    trials = [
        {"setting": row["setting"], "repeat": repeat, "score": row["accuracy"]}
        for row in candidates
        for repeat in range(row["repeats"])
    ]
    _csv(root / f"plots/{model}/{stage}/trials.csv", trials)


def _times(root: Path, model: str, stage: str, settings: Sequence[str]) -> None:
    took = {"setting": settings, "repeat": 0, "train_seconds": 90.0}
    _csv(
        root / f"data/times/{model}/{stage}.csv", took | {"precision": "bf16", "computer": "Abacus"}
    )


def _leave_one_out(root: Path, model: str, rng: np.random.Generator) -> None:
    rows: list[dict[str, Any]] = []
    for technique, winner in (WINNERS | {"all": "final recipe"}).items():
        before = (BASELINE | {"all": "baseline recipe"})[technique]
        gain = rng.normal(0.003, 0.004) if before != winner else None
        rows.append({
            "technique": technique, "baseline_setting": before, "final_setting": winner,
            "gain": gain, "low": None if gain is None else gain - 0.003,
            "high": None if gain is None else gain + 0.003, "repeats": 5, "failed": False,
        })  # fmt: skip
    _csv(root / f"plots/{model}/leave_one_out/gains.csv", rows[1:])
    tested = [row for row in rows[1:-1] if row["gain"] is not None]
    parts = [{k: row[k] for k in ("technique", "gain", "low", "high")} for row in tested]
    _csv(root / f"plots/{model}/leave_one_out/shapley.csv", parts)
    first, second = parts[:2]
    pair = {"first": first["technique"], "second": second["technique"]}
    numbers = {"gain": 0.001, "low": -0.002, "high": 0.004}
    _csv(root / f"plots/{model}/leave_one_out/interactions.csv", [pair | numbers])
    _times(root, model, "leave_one_out", [row["technique"] for row in tested])


def _test_results(
    root: Path,
    model: str,
    classes: Sequence[str],
    images: np.ndarray,
    each: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    actual = np.repeat(np.array(classes), each)
    actual = actual[np.random.default_rng(5).permutation(len(actual))]
    places = np.array([list(classes).index(name) for name in actual])
    slips = (places + rng.choice([1, 2, len(classes) - 3], len(places))) % len(classes)
    predicted = np.where(rng.random(len(places)) < RIGHT[model], actual, np.array(classes)[slips])
    _csv(root / f"plots/{model}/test/predictions.csv", {
        "actual": actual, "predicted": predicted, "second": actual,
        "confidence": rng.uniform(0.3, 1, len(actual)).round(4),
    })  # fmt: skip
    bins = np.linspace(0.15, 0.95, 9)
    _csv(root / f"plots/{model}/test/reliability.csv", {
        "confidence": bins, "accuracy": bins - 0.05 + rng.normal(0, 0.01, 9),
        "count": (len(actual) * bins**6 / (bins**6).sum()).astype(int) + 3,
    })  # fmt: skip
    folder = root / f"data/evaluated/{model}"
    folder.mkdir(parents=True, exist_ok=True)
    answers = actual[:6].copy()
    answers[2] = next(name for name in classes if name != answers[2])
    sure = np.linspace(0.9999, 0.4, 6)
    np.savez(
        folder / "first_six.npz", images=images[:6], actual=actual[:6], predicted=answers,
        confidence=sure,
    )  # fmt: skip
    wrong = np.flatnonzero(predicted != actual)[:12]
    np.savez(
        folder / "worst.npz", images=np.resize(images, (len(wrong), 28, 28)), actual=actual[wrong],
        predicted=predicted[wrong], confidence=np.linspace(1, 0.6, len(wrong)),
    )  # fmt: skip
    accuracy = float((actual == predicted).mean())
    scores = {
        "accuracy": accuracy, "low": accuracy - 0.0085, "high": accuracy + 0.008,
        "precision": accuracy, "recall": accuracy, "f1": accuracy - 0.001,
    }  # fmt: skip
    details = {
        "top2": accuracy + 0.06, "temperature": {"mlp": 1.42, "cnn": 0.63}.get(model, 0.9),
        "calibration_error_before": {"mlp": 0.08, "cnn": 0.0321}.get(model, 0.01),
        "calibration_error": 0.0321, "brier_score_before": 0.21, "brier_score": 0.2,
        "log_likelihood_before": -0.45, "log_likelihood": -0.4,
        "parameters": {"mlp": 575_663, "cnn": 421_167}.get(model, 98_765),
        "seeds_mean": accuracy, "seeds_spread": 0.002,
        "baseline_mean": accuracy - 0.02, "baseline_spread": 0.003,
    }  # fmt: skip
    over = {"gain": 0.02, "low": 0.013, "high": 0.028}
    _json(root / f"metrics/{model}/test_over_baseline.json", over)
    fits = [(recipe, seed, accuracy) for recipe in ("final", "baseline") for seed in (1, 2, 3)]
    columns = ["recipe", "seed", "accuracy"]
    _csv(root / f"plots/{model}/test/seeds.csv", pd.DataFrame(fits, columns=columns))
    cost = {"train_seconds": 31.4, "predict_seconds": 0.5, "images_per_second": 14_100}
    _csv(root / f"data/times/{model}/test.csv", [cost])
    _times(root, model, "fit", ["final", "baseline"])
    confused = most_confused(actual, predicted)
    _csv(root / f"plots/{model}/test/confused.csv", confused)
    _json(root / f"metrics/{model}/test.json", scores)
    _csv(root / f"plots/{model}/test/details.csv", [details])
    return {"model": model} | scores | details


def copy_templates(root: Path) -> None:
    """Copy the page and the templates of this repository."""
    (root / ".dvc/plots").mkdir(parents=True, exist_ok=True)
    for file in (REPOSITORY / ".dvc/plots").glob("*.*"):
        shutil.copy(file, root / ".dvc/plots")


def write_study(root: Path, classes: Sequence[str], each: int, seed: int = 0) -> None:
    """Write every file that the report reads, with `each` test characters per class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (max(6, len(classes)), 28, 28), dtype=np.uint8)
    _csv(root / "data/classes.csv", {"index": range(len(classes)), "character": classes})
    _csv(
        root / "plots/data/class_counts.csv",
        {"character": classes, "train": 4 * each, "test": each},
    )
    (root / "data/prepared").mkdir(parents=True, exist_ok=True)
    np.savez(
        root / "data/prepared/samples.npz", images=np.repeat(images[: len(classes)], 10, axis=0),
        labels=np.repeat(np.arange(len(classes), dtype=np.uint8), 10), classes=np.array(classes),
    )  # fmt: skip
    chain, models = [], []
    for model in MODELS:
        chain += _stages(root, model, rng)
        _leave_one_out(root, model, rng)
        models.append(_test_results(root, model, classes, images, each, rng))
    _csv(root / "plots/comparison/chain.csv", chain)
    _csv(root / "plots/comparison/models.csv", models)
    alike = [(m, group, 2, 0.1) for m in MODELS for group in ("1/t", "all")]
    ambiguous = pd.DataFrame(alike, columns=["model", "group", "errors", "share_of_errors"])
    _csv(root / "plots/comparison/ambiguous.csv", ambiguous)
    outcomes: dict[str, list[Any]] = {
        "outcome": ["all correct", "only cnn and rnn correct", "none correct"]
    }
    outcomes |= {"count": [130, 7, 3], "share": [0.93, 0.05, 0.02]}
    _csv(root / "plots/comparison/agreement.csv", outcomes)
    recalls = {model: rng.uniform(0.6, 0.98, len(classes)) for model in MODELS}
    _csv(root / "plots/comparison/classes.csv", {"class": classes} | recalls)
    _csv(root / "plots/comparison/pairs.csv", [
        {"first": first, "second": second, "gain": gain, "low": gain - 0.009, "high": gain + 0.009,
         "released": gain + 0.001, "mcnemar_p": chance}
        for first, second, gain, chance in [
            ("mlp", "cnn", 0.05, 3e-12), ("mlp", "rnn", 0.02, 0.01), ("cnn", "rnn", -0.03, 0.2),
        ]
    ])  # fmt: skip


def reread(study: Study) -> Study:
    """The same study, with no table read yet."""
    return replace(study)


def add_round(study: Study, stage: str, tried: dict[str, list[dict[str, Any]]]) -> None:
    """A later stage of the chain.

    tried: model to its settings, the incumbent first: each has a setting, a role and perhaps more
        of a row of candidates.csv.
    """
    path = study.root / "plots/comparison/chain.csv"
    rows = [pd.read_csv(path, dtype=str)]
    for model, settings in tried.items():
        plain = {
            "accuracy": 0.85, "spread": 0.003, "parameters": 575_663, "repeats": 5,
            "diverged": False, "collapsed": False, "won_grid": True, "grid_edge": False,
            "raced_out": False, "finding": "within the noise",
        }  # fmt: skip
        incumbent = {"gain": 0, "low": None, "high": None, "finding": ""}
        first, *others = settings
        table: list[dict[str, Any]] = [
            {"candidate": each["setting"], **plain, **each} for each in (incumbent | first, *others)
        ]
        _csv(study.root / f"plots/{model}/{stage}/candidates.csv", table)
        curves = {"train_loss": 1, "validation_loss": 1, "train_accuracy": 0.9}
        epochs = [{"setting": row["setting"], "epoch": n} for row in table for n in (1, 2)]
        _csv(
            study.root / f"plots/{model}/{stage}/curves.csv",
            [each | curves | {"validation_accuracy": 0.85} for each in epochs],
        )
        _trials(study.root, model, stage, table)
        _times(study.root, model, stage, [row["setting"] for row in table])
        [won] = [row for row in table if row["role"] == "winner"]
        numbers = {k: won[k] for k in ("accuracy", "gain", "low", "high") if won is not table[0]}
        verdict = {"verdict": "kept" if won is table[0] else "adopted", "winner": won["setting"]}
        row = {"model": model, "stage": stage, "accuracy": 0.85} | numbers | verdict
        rows.append(pd.DataFrame([row]))
    pd.concat(rows).to_csv(path, index=False)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, CLASSES, each=20)
    return folder


@pytest.fixture(scope="session")
def dvc() -> Callable[..., str]:
    """Run dvc in a folder; returns its output."""
    return _dvc


@pytest.fixture(scope="session")
def study(root: Path) -> Study:
    return Study(root, MODELS, "toys", TOYS)


@pytest.fixture(scope="session")
def pictures(study: Study) -> list[Path]:
    return write_pictures(study)


@pytest.fixture(scope="session")
def reported(study: Study, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study in a folder of its own, with its report and all files that it needs."""
    folder = tmp_path_factory.mktemp("reported")
    shutil.copytree(study.root, folder, dirs_exist_ok=True)
    copy_templates(folder)
    reported = replace(study, root=folder)
    write_charts(reported)
    write_report(reported)
    return reported


@pytest.fixture(scope="session")
def repository(
    study: Study, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A git and dvc project with this repository's plots, on the branch main and another one."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(study.root, folder, dirs_exist_ok=True)
    _git("init", "-q", "-b", "main", folder=folder)
    _dvc("init", "-q", folder=folder)
    shutil.copy(REPOSITORY / ".dvc/config", folder / ".dvc/config")
    copy_templates(folder)
    section = read_yaml(REPOSITORY / "dvc.yaml")["plots"]
    (folder / "dvc.yaml").write_text(to_yaml({"plots": section}))
    for branch, seed in (("main", 0), ("other", 1)):
        write_study(folder, CLASSES, each=20, seed=seed)
        write_charts(Study(folder, MODELS, "toys", TOYS))
        _git("checkout", "-q", "-B", branch, folder=folder)
        _git("add", "-A", folder=folder)
        _git("commit", "-q", "-m", branch, folder=folder)
    return folder


@pytest.fixture(scope="session")
def visit(chromium: Any) -> Iterator[Open]:
    """Opens a file in a browser without network access; skips the test if there is none."""
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 900})

    def open_page(file: Path) -> Visit:
        visit = Visit(context.new_page())
        visit.page.on("console", lambda message: visit.said.append(message.text))
        visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
        visit.page.on("request", lambda request: visit.asked.append(request.url))
        visit.page.goto(file.as_uri())
        visit.page.wait_for_selector("body[data-drawn]")
        return visit

    yield open_page
    context.close()
