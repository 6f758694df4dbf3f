"""`ablation predict`: the fitted models on a person's own image."""

import argparse
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from ablation.base.checked import one_of
from ablation.base.console import console, percent, plain_errors
from ablation.base.errors import UserError
from ablation.data.conversion import CONVERSIONS
from ablation.data.pictures import seen
from ablation.fitted import Fitted

GUESSES = 3


def main() -> None:
    """The command line; `ablation predict --help` tells what it takes."""
    parser = argparse.ArgumentParser(prog="ablation", description="A staged ablation on EMNIST.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("predict", help="which character is on an image?")
    command.add_argument("images", nargs="+", type=Path, help="one handwritten character each")
    command.add_argument(
        "--model",
        type=Path,
        default=Path("data/models/cnn.safetensors"),
        help="a model file that `dvc repro fit` wrote (default: %(default)s)",
    )
    arguments = parser.parse_args()
    with plain_errors():
        predict(arguments.images, Fitted.load(arguments.model))


def predict(paths: list[Path], fitted: Fitted) -> None:
    """Print the most probable characters of every image."""
    name = fitted.about.conversion
    if name not in CONVERSIONS:
        raise UserError(f"{fitted.path}: its metadata: conversion: {one_of(name, CONVERSIONS)}")
    images = np.stack([seen(path, name) for path in paths])
    table = Table("image", *(f"guess {n}" for n in range(1, GUESSES + 1)), box=None)
    for path, probabilities in zip(paths, fitted.probabilities(images), strict=True):
        best = np.argsort(-probabilities)[:GUESSES]
        guesses = (f"{fitted.about.classes[i]}  {percent(float(probabilities[i]))}" for i in best)
        # As it is: brackets in a name are no markup.
        table.add_row(*map(Text, (path.name.encode(errors="replace").decode(), *guesses)))
    console.print(table)
