"""A picture of what the networks saw: 28 x 28 pixels of every image, with their first guesses."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ablation.answers import Answer
from ablation.base.errors import UserError

ENLARGED = 8
CAPTION = 34
MARGIN = 12
COLUMNS = 5
TILE = 28 * ENLARGED
LONGEST_NAME = 32  # letters that fit over a tile


def save_seen(answers: Sequence[Answer], path: Path) -> None:
    """Write a picture: a tile for every answer that is one.

    Raises:
        UserError: the file cannot be written, or its name ends in no form of a picture.
    """
    tiles = [(each, each.seen) for each in answers if each.seen]
    if not tiles:
        raise UserError(f"{path}: no image could be read, so there is nothing to show")
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    across, down = TILE + MARGIN, TILE + CAPTION + MARGIN
    sheet = Image.new("L", (MARGIN + columns * across, MARGIN + rows * down), 255)
    pen = ImageDraw.Draw(sheet)
    for number, (each, seen) in enumerate(tiles):
        left = MARGIN + number % columns * across
        top = MARGIN + number // columns * down
        image = Image.fromarray(next(iter(seen.values())))
        sheet.paste(image.resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        pen.text((left, top + TILE + 2), _caption(each), fill=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written ({error}); end its name in .png") from None


def _caption(answer: Answer) -> str:
    guesses = "   ".join(
        f"{name}: {some[0].character} {some[0].probability:.0%}"
        for name, some in (answer.guesses or {}).items()
    )
    name = Path(answer.image).name[-LONGEST_NAME:]
    return f"{name.encode('latin-1', 'replace').decode('latin-1')}\n{guesses}"
