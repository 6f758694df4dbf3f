"""A picture of what the networks saw: 28 x 28 pixels of every image, with their first guesses."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ablation.base.checked import one_of
from ablation.base.errors import UserError
from ablation.base.files import whole_file
from ablation.base.formatting import shortened
from ablation.use.answers import Answer

ENLARGED = 8
CAPTION = 34
MARGIN = 12
COLUMNS = 5
TILE = 28 * ENLARGED
LONGEST_NAME = 32  # letters that fit below a tile
LONGEST_CLASS = 8  # of these, for each of two models
FONT_HAS = {*map(chr, range(32, 256)), "…"}  # Pillow's own
FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def check_name(path: Path) -> None:
    """Whether it ends as a picture does.

    Raises:
        UserError: it does not.
    """
    if path.suffix.lower() not in FORMS:
        raise UserError(f"{path}: its end: {one_of(path.suffix, FORMS)}")


def save_seen(answers: Sequence[Answer], path: Path) -> None:
    """Write a picture: a tile for every answer that is one.

    Args:
        answers: what was said.
        path: a name that `check_name` lets pass.

    Raises:
        UserError: the file cannot be written, or there is nothing to show.
    """
    tiles = [
        (each, way if len(each.seen) > 1 else "", image)
        for each in answers
        if each.seen
        for way, image in each.seen.items()
    ]
    if not tiles:
        raise UserError(f"{path}: no image could be read, so there is nothing to show")
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    across, down = TILE + MARGIN, TILE + CAPTION + MARGIN
    sheet = Image.new("L", (MARGIN + columns * across, MARGIN + rows * down), 255)
    pen = ImageDraw.Draw(sheet)
    for number, (each, way, seen) in enumerate(tiles):
        left = MARGIN + number % columns * across
        top = MARGIN + number // columns * down
        image = Image.fromarray(seen)
        sheet.paste(image.resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        pen.text((left, top + TILE + 2), _caption(each, way), fill=0)
    with whole_file(path) as file:
        sheet.save(file, FORMS[path.suffix.lower()])


def _caption(answer: Answer, way: str) -> str:
    guesses = "   ".join(
        f"{name}: {class_name(some[0].character)}, {some[0].probability:.0%}"
        for name, some in (answer.guesses or {}).items()
    )
    return f"{_drawable(Path(answer.image).name[-LONGEST_NAME:])} {way}\n{guesses}"


def _drawable(text: str) -> str:
    """A text as the picture's font can show it."""
    return "".join(sign if sign in FONT_HAS else "?" for sign in text)


def class_name(name: str) -> str:
    """Of a class, shortened; U+3042 is a character that the font lacks."""
    signs = (sign if sign in FONT_HAS else f"U+{ord(sign):04X}" for sign in name)
    return shortened("".join(signs), LONGEST_CLASS)
