"""Writing is found on photographs in common conditions, and not found on empty pages.

Each scene has a few characters here; `benchmarks/scenes.py` measures the accuracy.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from photographs import (
    HEIGHT,
    NOISE,
    PAPER,
    PENS,
    PRINT_SCENES,
    SCENES,
    SHEET,
    WIDTH,
    Scene,
    falling_light,
    from_the_line,
    on_a_desk,
    photograph,
    shadow,
    with_pen,
)
from PIL import Image, ImageDraw, ImageFont

from ablation.data.characters import CLASSES
from ablation.fitted.model import Fitted
from ablation.pictures.conversion import PAGE_SIDE, emnist
from ablation.pictures.page import JOINED, TOUCHED, TURNED, EmptyPageError, Reading, pages
from ablation.pictures.parts import ASIDE
from ablation.raw.glyphs import write

CNN = Path(__file__).parents[2] / "data/models/cnn.safetensors"
WARNED = {"rule that is touched": TOUCHED, "wood, turned 30 degrees": TURNED}


@cache
def model() -> Fitted:
    return Fitted.load(CNN)


@cache
def written(character: str) -> np.ndarray:
    """(28, 28) uint8, a character drawn with a font."""
    return write(character, np.random.default_rng(3))


def taken(picture: np.ndarray) -> Reading:
    return pages(picture.astype(np.float32) / 255)


def read(reading: Reading) -> str:
    probabilities = model().probabilities(emnist(reading.pages[0])[None])
    return CLASSES[int(probabilities.argmax())]


@pytest.mark.parametrize("scene", SCENES)
def test_a_character_is_read_in_every_scene(scene: str) -> None:
    found = taken(photograph(written("R") / 255, SCENES[scene], np.random.default_rng(1)))
    assert read(found) == "R" or TURNED in found.warnings
    assert len(found.pages) == 1
    assert found.warnings == ((WARNED[scene],) if scene in WARNED else ())


@pytest.mark.parametrize("character", ["D", "L"])
@pytest.mark.parametrize("scene", PRINT_SCENES)
def test_a_closed_and_a_straight_letter_are_read_inside_printed_forms(
    scene: str, character: str
) -> None:
    picture = photograph(written(character) / 255, SCENES[scene], np.random.default_rng(1))
    assert read(taken(picture)) == character


@pytest.mark.parametrize("character", ["I", "1", "L", "0", "O", "D"])
def test_closed_and_straight_letters_are_not_mistaken_for_printed_forms(character: str) -> None:
    found = pages(lettering(character))
    assert found.warnings == ()
    dark = lettering(character) < 0.5
    rows, columns = (np.flatnonzero(dark.any(axis=axis)) for axis in (1, 0))
    ink = (columns[0] / 700, rows[0] / 300, (columns[-1] + 1) / 700, (rows[-1] + 1) / 300)
    assert found.box == pytest.approx(ink, abs=0.02)


@pytest.mark.parametrize("pen", PENS)
def test_any_pen_width_is_read(pen: float) -> None:
    drawn = with_pen(from_the_line(written("R")), pen)
    found = taken(photograph(drawn, Scene(), np.random.default_rng(1), side=256))
    assert read(found) == "R"
    assert found.warnings == ()


def paper(seed: int) -> np.ndarray:
    return PAPER + np.random.default_rng(seed).normal(0, NOISE, (HEIGHT, WIDTH))


def coarse_paper(seed: int) -> np.ndarray:
    return 0.8 + np.random.default_rng(seed).normal(0, 0.04, (HEIGHT, WIDTH))


def dotted(seed: int) -> np.ndarray:
    page = paper(seed)
    page[200:208, 260:268] = 0.1
    return page


def lamp(reach: float) -> np.ndarray:
    """Light from a lamp near a corner."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray(0.5 + 0.5 * np.exp(-((np.hypot(rows - 80, columns - 100) / reach) ** 2)))


NOWHERE = slice(0), slice(0)
EMPTY: dict[str, Callable[[int], np.ndarray]] = {
    "white": lambda _: np.ones((HEIGHT, WIDTH)),
    "black": lambda _: np.zeros((HEIGHT, WIDTH)),
    "one pixel": lambda _: np.ones((1, 1)),
    "paper": paper,
    "coarse paper": coarse_paper,
    "falling light": lambda seed: paper(seed) * falling_light(HEIGHT, WIDTH),
    "light from a corner": lambda seed: (
        paper(seed) * np.linspace(1, 0.6, HEIGHT)[:, None] * falling_light(HEIGHT, WIDTH)
    ),
    "a lamp": lambda seed: paper(seed) * lamp(300),
    "a small lamp": lambda seed: paper(seed) * lamp(150),
    "a shadow": lambda seed: paper(seed) * shadow(0.45, soft=3)(HEIGHT, WIDTH),
    "on a desk": lambda seed: on_a_desk(paper(seed), NOWHERE),
    "a dot": dotted,
    "a sheet": lambda seed: (
        np.random.default_rng(seed).normal(PAPER, NOISE, SHEET) * falling_light(*SHEET)
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("page", EMPTY)
def test_an_empty_page_is_reported_as_empty(page: str, seed: int) -> None:
    with pytest.raises(EmptyPageError, match="no writing found"):
        pages(np.clip(EMPTY[page](seed), 0, 1).astype(np.float32))


def lettering(text: str, size: int = 120) -> np.ndarray:
    image = Image.new("L", (700, 300), 225)
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(image).text((60, 30), text, fill=30, font=font)
    return np.asarray(image, dtype=np.float32) / 255


@pytest.mark.parametrize(
    ("text", "count"),
    [("7", 1), ("j", 1), ("i", 1), ("12", 2), ("Hi", 2), ("A7", 2), ("CAT", 3), ("H3K", 3)],
)
def test_several_characters_are_separated(text: str, count: int) -> None:
    found = pages(lettering(text)).pages
    assert len(found) == (1 if count == 1 else 1 + count)
    assert {page.shape for page in found} == {(PAGE_SIDE, PAGE_SIDE)}


def test_several_lines_are_separated() -> None:
    lines = pages(lettering("AB\nC", size=90)).pages[1:]
    alone = [pages(lettering(letter, size=90)).pages[0] for letter in "ABC"]
    assert all(np.abs(one - other).mean() < 0.02 for one, other in zip(lines, alone, strict=True))


def test_characters_are_ordered_from_left_to_right() -> None:
    first, second = pages(lettering("A7")).pages[1:]
    assert np.abs(first - pages(lettering("A")).pages[0]).mean() < 0.02
    assert np.abs(second - pages(lettering("7")).pages[0]).mean() < 0.02


def test_joined_letters_give_a_warning() -> None:
    joined = np.minimum(lettering("HHHH"), 0.88)
    joined[100:110, 70:380] = 0.12
    assert JOINED in pages(joined).warnings


def test_a_ring_drawn_with_the_same_pen_gives_a_warning() -> None:
    image = Image.fromarray(np.uint8(255 * lettering("R")))
    ImageDraw.Draw(image).ellipse((10, 10, 200, 200), outline=30, width=9)
    found = pages(np.asarray(image, np.float32) / 255)
    assert found.warnings == (ASIDE,)
    assert np.abs(found.pages[0] - pages(lettering("R")).pages[0]).mean() < 0.02


@pytest.mark.parametrize(("size", "high"), [((900, 700), 14), (SHEET, 18), (SHEET, 26)])
def test_writing_that_is_too_small_is_reported(size: tuple[int, int], high: int) -> None:
    page = Image.new("L", size, 235)
    font = ImageFont.load_default(size=round(high / 0.73))
    ImageDraw.Draw(page).text((400, 300), "R", fill=30, font=font)
    with pytest.raises(EmptyPageError, match=r": crop the picture to it$") as said:
        pages(np.asarray(page, np.float32) / 255)
    (found,) = re.findall(r"^the largest writing is (\d+) pixels high", str(said.value))
    assert int(found) == pytest.approx(high, abs=3)


def test_dark_ink_and_light_ink_give_the_same_image() -> None:
    (on_paper,), (on_slate,) = (pages(page).pages for page in (lettering("7"), 1 - lettering("7")))
    assert on_paper.max() == pytest.approx(1, abs=0.01)
    assert np.abs(on_paper - on_slate).mean() < 0.01
