"""`ablation predict`: the fitted models on a person's own image."""

import argparse
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.table import Table
from rich.text import Text

from ablation.base.checked import one_of
from ablation.base.console import console, percent, plain_errors
from ablation.base.errors import UserError, one_line
from ablation.data.conversion import CONVERSIONS, PAGE_SIDE
from ablation.fitted import Fitted

GUESSES = 3
# A phone's camera takes 50 millions; a page this large takes a second and 2 GB to read.
MOST_PIXELS = 64_000_000


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
    convert = CONVERSIONS[name]
    images = np.stack([convert(read_page(path)) for path in paths])
    table = Table("image", *(f"guess {n}" for n in range(1, GUESSES + 1)), box=None)
    for path, probabilities in zip(paths, fitted.probabilities(images), strict=True):
        best = np.argsort(-probabilities)[:GUESSES]
        guesses = (f"{fitted.about.classes[i]}  {percent(float(probabilities[i]))}" for i in best)
        # As it is: brackets in a name are no markup.
        table.add_row(*map(Text, (path.name.encode(errors="replace").decode(), *guesses)))
    console.print(table)


def read_page(path: Path) -> np.ndarray:
    """A picture of one character, in the middle of a (128, 128) page of ink in 0..1.

    Dark ink on a light ground and light ink on a dark one both do: the ground is what the border
    shows.

    Raises:
        UserError: no image, one too large, or nothing drawn on it.
    """
    colours = _read_picture(path)
    paper = Image.new("RGBA", colours.size, "white")
    grey = Image.alpha_composite(paper, colours).convert("L")
    pixels = np.asarray(grey, dtype=np.float32) / 255
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ink = np.abs(pixels - np.median(border))
    if ink.max() < 0.1:
        raise UserError(f"{path}: an empty page; draw one character, darker than the ground")
    return _page(ink / ink.max())


def _read_picture(path: Path) -> Image.Image:
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            picture = Image.open(file)
            if (width := picture.width) * (height := picture.height) > MOST_PIXELS:
                raise UserError(
                    f"{path}: a picture of {width} x {height} pixels; make it smaller, "
                    f"{MOST_PIXELS // 10**6} million pixels are the most"
                )
            return ImageOps.exif_transpose(picture).convert("RGBA")
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: a picture of far too many pixels; make it smaller, "
            f"{MOST_PIXELS // 10**6} million pixels are the most"
        ) from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not an image that can be read; a PNG or JPEG can") from None
    except Exception as error:  # broken bytes make Pillow's decoders raise whatever they meet
        if isinstance(error, OSError) and error.errno is not None:  # the system's own
            raise UserError(f"{path}: {error.strerror}; name a picture") from None
        raise UserError(f"{path}: not an image that can be read ({one_line(error)})") from None


def _page(ink: np.ndarray) -> np.ndarray:
    """The drawing in the middle of a square page of EMNIST's scanning size."""
    rows, columns = (np.flatnonzero((ink > 0.3).any(axis=axis)) for axis in (1, 0))
    drawn = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = 0.6 * PAGE_SIDE / max(drawn.size)
    width, height = (max(1, round(extent * scale)) for extent in drawn.size)
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    top, left = (PAGE_SIDE - height) // 2, (PAGE_SIDE - width) // 2
    page[top : top + height, left : left + width] = np.asarray(
        drawn.resize((width, height), Image.Resampling.BILINEAR)
    )
    return np.clip(page, 0, 1)
