import dataclasses
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.data.splits import Repeat, split
from ablation.fitted.model import Fitted
from ablation.fitted.model_file import pack
from ablation.run import result_cache
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.recipe import Recipe, Regularization, Sgd
from ablation.trial.trials import Result, Trial

# As many characters as EMNIST's largest split, in float32.
LARGEST_SPLIT = """
import numpy as np
import torch
from ablation.processes.pool import peak_memory
from ablation.data.splits import make_repeats
from ablation.trial.recipe import Recipe
from ablation.run.no_compiler import leave_compiler_out
leave_compiler_out()
from ablation.trial.families import MlpSpec
from ablation.trial.scoring import validate
from ablation.trial.training import Part, prepare_process
from ablation.trial.trials import Trial
prepare_process()
labels = torch.arange(697_932) % 62
images = torch.zeros((len(labels), 28, 28), dtype=torch.uint8)
images[:, 0, 0] = labels
recipe = Recipe.model_validate(
    dict(scheduler=dict(name="constant"), activation="relu", optimizer=dict(name="adam", lr=0.001),
         batchnorm=True, regularization=dict(l1=0.0, l2=0.0), dropout=0.0)
)
spec = MlpSpec(hidden=(16, 16, 16), epochs=1)
trial = Trial("mlp", spec, recipe, make_repeats(1, "shuffle", 0.15, 1)[0])
result = validate(trial, Part(images, labels), classes=62, batch_size=4096, bf16=False)
assert not result.diverged
print(peak_memory())
"""
ONE_WORKER = Hardware("cpu", bf16=False, workers=1)
Outcome = tuple[float, bool, str]


@pytest.fixture
def runner(toy_study: Path) -> TrialRunner:
    return TrialRunner(toy_study / "data/prepared/train.npz", 32, ONE_WORKER)


@pytest.fixture
def trials(mlp: MlpSpec, cnn: CnnSpec, recipe: Recipe, repeats: list[Repeat]) -> list[Trial]:
    recipe = recipe.having("dropout", 0.2)
    mlps = [Trial("mlp", mlp, recipe, repeat) for repeat in repeats]
    return [*mlps, Trial("cnn", cnn, recipe, repeats[0])]


def outcomes(runner: TrialRunner, trials: list[Trial]) -> dict[Trial, Outcome]:
    """The parts of the results that must be reproduced to the last bit."""
    return {trial: outcome(result) for trial, result, _ in runner.run(trials)}


def outcome(result: Result) -> Outcome:
    return result.score, result.diverged, json.dumps(dataclasses.asdict(result.curves))


def cache_entries(study: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (study / "cache").iterdir()}


def test_results_do_not_depend_on_the_number_of_workers(
    runner: TrialRunner, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = outcomes(runner, trials)
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "another"))
    two = dataclasses.replace(runner, hardware=dataclasses.replace(ONE_WORKER, workers=2))
    assert outcomes(two, trials) == alone
    assert len(list((tmp_path / "another").iterdir())) == len(trials)


def test_results_do_not_depend_on_the_order(
    runner: TrialRunner, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forwards = outcomes(runner, trials)
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "another"))
    assert outcomes(runner, trials[::-1]) == forwards


def test_a_trial_is_trained_once(runner: TrialRunner, trials: list[Trial], toy_study: Path) -> None:
    first = {trial: result for trial, result, _ in runner.run(trials)}
    written = cache_entries(toy_study)
    assert {
        trial: result for trial, result, _ in runner.run(trials)
    } == first  # including the training times
    assert cache_entries(toy_study) == written
    assert len(written) == len(trials)


def test_a_new_trial_costs_only_itself(
    runner: TrialRunner, trials: list[Trial], toy_study: Path
) -> None:
    outcomes(runner, trials[:2])
    before = cache_entries(toy_study)
    outcomes(runner, trials[:3])
    after = cache_entries(toy_study)
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before


def test_reused_workers_cache_in_the_folder_of_the_current_study(
    runner: TrialRunner, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two = dataclasses.replace(runner, hardware=dataclasses.replace(ONE_WORKER, workers=2))
    outcomes(two, trials[:2])
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "later"))
    outcomes(two, trials[2:])
    assert len(list((tmp_path / "later").iterdir())) == 2


def test_a_trial_finished_by_another_study_is_not_trained_again(
    runner: TrialRunner, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, toy_study: Path
) -> None:
    running = runner.run(trials[:3])
    first, *_ = next(running)
    others = outcomes(runner, trials[:3])  # finishes while the first study waits
    written = cache_entries(toy_study)
    assert {trial: outcome(result) for trial, result, _ in running} == {
        trial: found for trial, found in others.items() if trial != first
    }
    assert cache_entries(toy_study) == written


def test_editing_the_code_stops_a_running_study(
    runner: TrialRunner, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, toy_study: Path
) -> None:
    digests = iter(["before", "before", "after"])  # as seen by the key, the study and the worker
    monkeypatch.setattr(result_cache, "trial_code_digest", lambda: next(digests))
    with pytest.raises(UserError, match="edited during the study"):
        outcomes(runner, trials[:1])
    assert not (toy_study / "cache").exists()


def test_the_next_trial_is_requested_when_a_worker_is_idle(
    runner: TrialRunner, trials: list[Trial]
) -> None:
    finished: dict[Trial, Result] = {}
    known = []

    def ahead() -> Iterator[Trial]:
        for trial in trials:
            known.append(len(finished))
            yield trial

    for trial, result, _ in runner.run(ahead()):
        finished[trial] = result
    assert known == [0, 1, 2, 3]


def test_cached_results_are_yielded_while_others_train(
    runner: TrialRunner, trials: list[Trial]
) -> None:
    outcomes(runner, trials[1:3])
    assert set(outcomes(runner, trials)) == set(trials)


def test_a_corrupt_cache_entry_is_logged_and_trained_again(
    runner: TrialRunner, trials: list[Trial], toy_study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = outcomes(runner, trials[:2])
    path = next((toy_study / "cache").iterdir())
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert outcomes(runner, trials[:2]) == first
    assert f"{path}: corrupt" in caplog.text
    assert len(path.read_bytes()) > 100


@pytest.mark.parametrize("change", ["batch_size", "bf16", "characters", "recipe", "spec", "repeat"])
def test_the_key_depends_on_everything_that_determines_a_trial(
    change: str,
    runner: TrialRunner,
    trials: list[Trial],
    toy: Characters,
    toy_study: Path,
) -> None:
    trial = trials[0]
    outcomes(runner, [trial])
    match change:
        case "batch_size":
            runner = dataclasses.replace(runner, batch_size=16)
        case "bf16":
            runner = dataclasses.replace(
                runner, hardware=dataclasses.replace(ONE_WORKER, bf16=True)
            )
        case "characters":
            Characters(255 - toy.images, toy.labels, toy.classes).save(toy_study / "other.npz")
            runner = dataclasses.replace(runner, characters=toy_study / "other.npz")
        case "recipe":
            trial = dataclasses.replace(trial, recipe=trial.recipe.having("dropout", 0.3))
        case "spec":
            trial = dataclasses.replace(trial, spec=MlpSpec(hidden=(16, 12, 9), epochs=3))
        case "repeat":
            trial = trials[1]
    outcomes(runner, [trial])
    assert len(cache_entries(toy_study)) == 2


def test_the_score_is_the_accuracy_after_the_last_epoch_not_the_best(
    toy: Characters, toy_study: Path, runner: TrialRunner, trials: list[Trial]
) -> None:
    guesses = np.random.default_rng(0).integers(0, 4, len(toy), dtype=np.uint8)
    Characters(toy.images, guesses, toy.classes).save(toy_study / "guesses.npz")
    noisy = dataclasses.replace(runner, characters=toy_study / "guesses.npz")
    patient = MlpSpec(hidden=(16, 12, 8), epochs=8)
    results = [r for _, r, _ in noisy.run(dataclasses.replace(t, spec=patient) for t in trials[:3])]
    assert all(r.score == r.curves.validation_accuracy[-1] for r in results)
    assert any(r.score < max(r.curves.validation_accuracy) for r in results)


def test_a_diverged_trial_scores_0_and_is_cached_as_diverged(
    runner: TrialRunner, trials: list[Trial]
) -> None:
    wild = trials[0].recipe.having("optimizer", Sgd(name="sgd", lr=100.0))
    wild = wild.having("regularization", Regularization(l1=0.0, l2=1.0)).having("batchnorm", False)
    trial = dataclasses.replace(trials[0], recipe=wild, spec=MlpSpec(hidden=(16, 12, 8), epochs=30))
    for _ in range(2):
        ((_, result, _),) = runner.run([trial])
        assert result.diverged
        assert result.score == 0
        assert len(result.curves.train_loss) < 30


def test_the_share_of_the_largest_class_is_known(
    runner: TrialRunner, toy: Characters, toy_study: Path
) -> None:
    assert runner.largest == 0.25
    rows = np.flatnonzero((toy.labels == 1) | (np.arange(len(toy)) < 100))
    some = Characters(toy.images[rows], toy.labels[rows], toy.classes)
    some.save(toy_study / "unequal.npz")
    unequal = dataclasses.replace(runner, characters=toy_study / "unequal.npz")
    assert unequal.largest == some.counts()[1] / len(some)


def test_a_thousand_classes_are_learned(
    runner: TrialRunner, trials: list[Trial], toy_study: Path
) -> None:
    """The pixels of each class encode the bits of its number."""
    names = tuple(f"a class of words, number {number}" for number in range(1000))
    labels = np.tile(np.arange(1000, dtype=np.uint16), 4)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    for bit in range(10):
        images[(labels >> bit) % 2 == 1, 2 * bit : 2 * bit + 3] = 255
    Characters(images, labels, names).save(toy_study / "many.npz")
    many = dataclasses.replace(runner, characters=toy_study / "many.npz", batch_size=100)
    spec = MlpSpec(hidden=(64, 64, 64), epochs=10)
    trial = dataclasses.replace(trials[0], spec=spec)
    trial = dataclasses.replace(trial, recipe=trial.recipe.having("dropout", 0.0))
    ((_, result, _),) = many.run([trial])
    assert result.score > 0.5
    ((_, _, learnt),) = many.fit([trial])
    path = toy_study / "many.safetensors"
    path.write_bytes(pack(trial, learnt, many.classes, "as-is"))
    fitted = Fitted.load(path)
    assert (fitted.metadata.classes, fitted.metadata.conversion) == (names, "as-is")
    answers = fitted.probabilities(images).argmax(axis=1)
    assert (answers == labels).mean() > 0.5
    assert answers.max() > 255


def test_a_fit_is_a_model_file_that_predicts(
    runner: TrialRunner, trials: list[Trial], toy: Characters, tmp_path: Path
) -> None:
    ((trial, result, learnt),) = runner.fit(trials[-1:])
    (tmp_path / "cnn.safetensors").write_bytes(pack(trial, learnt, toy.classes, "emnist"))
    fitted = Fitted.load(tmp_path / "cnn.safetensors")
    metadata = fitted.metadata
    assert (metadata.model, metadata.spec, metadata.recipe) == ("cnn", trial.spec, trial.recipe)
    assert metadata.classes == toy.classes
    assert (fitted.probabilities(toy.images).argmax(axis=1) == toy.labels).mean() > 0.95
    assert len(result.curves.train_accuracy) == trial.spec.epochs


def test_a_fit_uses_every_character(
    runner: TrialRunner, trials: list[Trial], toy: Characters
) -> None:
    ((_, result, learnt),) = runner.fit(trials[:1])
    pixels = toy.images / 255
    assert learnt.mean == pytest.approx(pixels.mean())
    assert learnt.deviation == pytest.approx(pixels.std())
    assert result.curves.validation_accuracy == []


def test_a_fit_is_trained_once_and_cached_apart_from_trials(
    runner: TrialRunner, trials: list[Trial], toy_study: Path
) -> None:
    ((_, result, learnt),) = runner.fit(trials[:1])
    written = cache_entries(toy_study)
    ((_, again, cached),) = runner.fit(trials[:1])
    assert (again, cached.to_bytes()) == (result, learnt.to_bytes())
    assert cache_entries(toy_study) == written
    outcomes(runner, trials[:1])
    assert len(cache_entries(toy_study)) == 2


def test_a_trial_trains_and_validates_on_its_own_split(
    runner: TrialRunner, trials: list[Trial], toy: Characters, toy_study: Path
) -> None:
    train, validation = split(toy.labels, trials[0].repeat)
    images = toy.images.copy()
    images[validation] = 0  # the training part is unchanged, and so is its curve
    Characters(images, toy.labels, toy.classes).save(toy_study / "dark.npz")
    dark = dataclasses.replace(runner, characters=toy_study / "dark.npz")
    ((_, usual, _),), ((_, blind, _),) = runner.run(trials[:1]), dark.run(trials[:1])
    assert blind.curves.train_loss == usual.curves.train_loss
    assert blind.score == pytest.approx(0.25, abs=0.01)
    assert len(train) + len(validation) == len(toy)


@pytest.mark.deep
def test_a_training_on_the_largest_split_takes_less_than_three_gigabytes() -> None:
    took = subprocess.check_output([sys.executable, "-c", LARGEST_SPLIT], text=True)
    assert int(took) < 3e9
