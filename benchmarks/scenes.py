"""Accuracy on synthetic photographs, by scene, with characters that no model was trained on.

    python benchmarks/scenes.py [--characters N] [--only SCENE ...]

The characters are those of NIST's two test partitions that EMNIST Mini does not use, in file order,
alternating between classes. All scenes have the same ones, so that they can be compared in pairs.
Pictures reported as empty or too small, which have no prediction, count as warned.
"""

import argparse
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from photographs import SCENES, Scene, photograph
from PIL import Image
from results import keep, machine

from ablation.base.console import plain_errors
from ablation.data.characters import Characters
from ablation.params import load_params
from ablation.processes.cores import cores
from ablation.raw.emnist import load_left_over
from ablation.use.loading import load_models
from ablation.use.prediction import Prediction, predict_pictures

CHARACTERS = 59
loaded = cache(load_models)  # once in a worker process


@dataclass(frozen=True)
class Count:
    """A model's results on a scene, as shares of its pictures.

    Attributes:
        correct: the first guess is correct, with or without a warning.
        silent: the first guess is wrong, without a warning.
        warned: there is a warning or an error.
    """

    correct: float
    silent: float
    warned: float


def one_of_each_class_in_turn(left: Characters, count: int) -> Characters:
    """The first characters of each class, then the second ones, and so on; `count` in total."""
    by_class = [np.flatnonzero(left.labels == label) for label in range(len(left.classes))]
    turns = range(max(map(len, by_class)))
    rows = [rows[turn] for turn in turns for rows in by_class if turn < len(rows)][:count]
    return Characters(left.images[rows], left.labels[rows], left.classes)


def pictures(scene: Scene, characters: Characters) -> Iterator[io.BytesIO]:
    """Each character in the scene, as a file."""
    for seed, image in enumerate(characters.images):
        file = io.BytesIO()
        taken = photograph(image / 255, scene, np.random.default_rng(seed))
        Image.fromarray(taken).save(file, "TIFF")
        yield file


def count(predictions: Sequence[Prediction], characters: Characters, model: str) -> Count:
    """How often a model is correct, wrong without a warning, and warned."""
    correct, silent, warned = [], [], []
    for said, label in zip(predictions, characters.labels, strict=True):
        guesses = (said.guesses or {}).get(model)
        warned.append(said.error is not None or said.warning is not None)
        correct.append(guesses is not None and guesses[0].character == characters.classes[label])
        silent.append(not correct[-1] and not warned[-1])
    return Count(*(float(np.mean(share)) for share in (correct, silent, warned)))


def measure(scene: str, characters: Characters) -> dict[str, Count]:
    """The results of both models on a scene; runs in a worker process."""
    torch.set_num_threads(1)
    models = loaded("both")
    files = pictures(SCENES[scene], characters)
    predictions = [said for file in files for said in predict_pictures([file], models)]
    return {name: count(predictions, characters, name) for name in models}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--characters", type=int, default=CHARACTERS)
    parser.add_argument("--only", nargs="+", choices=SCENES, metavar="SCENE", default=[*SCENES])
    given = parser.parse_args()
    with plain_errors():
        left = load_left_over(Path(load_params().data.raw))
    characters = one_of_each_class_in_turn(left, given.characters)
    scenes = {}
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        found = pool.map(measure, given.only, repeat(characters))
        for scene, counts in zip(given.only, found, strict=True):
            scenes[scene] = {model: vars(shares) for model, shares in counts.items()}
            print(
                f"{scene:36}",
                *(line(model, shares) for model, shares in counts.items()),
                flush=True,
            )
    if given.only == [*SCENES]:
        keep("scenes", machine("cpu") | {"characters": given.characters, "scenes": scenes})


def line(model: str, shares: Count) -> str:
    """A model's results as text."""
    return f"{model}:" + "".join(f" {share:4.0%} {what}" for what, share in vars(shares).items())


if __name__ == "__main__":
    main()
