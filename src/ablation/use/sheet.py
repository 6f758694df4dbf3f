"""A contact sheet: each picture with a frame around its writing, and the networks' input."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ablation.base.checked import one_of
from ablation.base.errors import UserError
from ablation.base.files import whole_file
from ablation.base.formatting import shortened
from ablation.pictures.preprocessing import Preprocessed
from ablation.use.prediction import Prediction

ENLARGED = 8
CAPTION = 64
MARGIN = 12
COLUMNS = 5
TILE = 28 * ENLARGED
PHOTO = 150  # pixels: the height of the image above
FRAME = (200, 0, 0)
LONGEST_NAME = 32  # letters that fit below a tile
LINE = 40  # letters per line; warnings take up to two lines
LONGEST_CLASS = 8  # letters of a class name
FONT_HAS = {*map(chr, range(32, 256)), "…"}  # Pillow's own
FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def check_name(path: Path) -> None:
    """Check that the suffix is that of a supported format.

    Raises:
        UserError: it is not.
    """
    if path.suffix.lower() not in FORMS:
        raise UserError(f"{path}: suffix: {one_of(path.suffix, FORMS)}")


def save_contact_sheet(predictions: Sequence[Prediction], path: Path) -> None:
    """Write a contact sheet with one tile per picture and conversion; errors have none.

    Args:
        predictions: the predictions.
        path: of the picture; see `check_name`.

    Raises:
        UserError: the file cannot be written, or there is nothing to show.
    """
    tiles = [
        (each, conversion if len(each.preprocessed) > 1 else "", seen)
        for each in predictions
        if each.preprocessed
        for conversion, seen in each.preprocessed.items()
    ]
    if not tiles:
        raise UserError(f"{path}: no image could be read, so there is nothing to show")
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    across, down = TILE + MARGIN, PHOTO + 2 + TILE + CAPTION + MARGIN
    sheet = Image.new("RGB", (MARGIN + columns * across, MARGIN + rows * down), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (each, conversion, seen) in enumerate(tiles):
        left = MARGIN + number % columns * across
        top = MARGIN + number // columns * down
        sheet.paste(_framed(seen), (left, top))
        sheet.paste(_enlarged(seen.images), (left, top + PHOTO + 2))
        pen.text((left, top + PHOTO + 2 + TILE + 2), _caption(each, conversion), fill="black")
    with whole_file(path) as file:
        sheet.save(file, FORMS[path.suffix.lower()])


def _framed(seen: Preprocessed) -> Image.Image:
    """The picture, with a frame around the writing."""
    photo = Image.fromarray(np.uint8(np.clip(255 * seen.picture, 0, 255))).convert("RGB")
    photo.thumbnail((TILE, PHOTO))
    sides = photo.size * 2
    left, top, right, bottom = (edge * n for edge, n in zip(seen.box, sides, strict=True))
    ImageDraw.Draw(photo).rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=FRAME)
    return photo


def _enlarged(images: Sequence[np.ndarray]) -> Image.Image:
    """The networks' input: all of the writing, and below it each of several characters."""
    whole, *each = (Image.fromarray(image) for image in images)
    tile = Image.new("L", (TILE, TILE), 255)
    side = TILE if not each else TILE - TILE // max(3, len(each)) - 2
    tile.paste(whole.resize((side, side), Image.Resampling.NEAREST), (0, 0))
    for place, image in enumerate(each):
        step = TILE // max(3, len(each))
        small = image.resize((step - 2, step - 2), Image.Resampling.NEAREST)
        tile.paste(small, (place * step, side + 2))
    return tile


def _caption(prediction: Prediction, conversion: str) -> str:
    guesses = "   ".join(
        f"{name}: {count} characters"
        if (count := prediction.several.get(name))
        else f"{name}: {class_name(some[0].character)}, {some[0].probability:.0%}"
        for name, some in (prediction.guesses or {}).items()
    )
    warning = textwrap.shorten(_drawable(prediction.warning or ""), 2 * LINE, placeholder="...")
    name = _drawable(Path(prediction.image).name[-LONGEST_NAME:])
    return "\n".join([f"{name} {conversion}", guesses, *textwrap.wrap(warning, LINE)])


def _drawable(text: str) -> str:
    """Replace characters that the font lacks."""
    return "".join(sign if sign in FONT_HAS else "?" for sign in text)


def class_name(name: str) -> str:
    """A shortened class name; characters that the font lacks are shown as code points."""
    signs = (sign if sign in FONT_HAS else f"U+{ord(sign):04X}" for sign in name)
    return shortened("".join(signs), LONGEST_CLASS)
