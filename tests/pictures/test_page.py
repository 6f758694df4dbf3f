"""Writing is found on a photograph in the conditions that people meet, and not where none is."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.data.characters import CLASSES, SIDE, Characters
from ablation.fitted.model import Fitted
from ablation.pictures.conversion import PAGE_SIDE, emnist
from ablation.pictures.page import EmptyPageError, pages
from ablation.raw.emnist import load_left_over
from ablation.raw.glyphs import write
from tests.photographs import (
    HEIGHT,
    NOISE,
    PAPER,
    PENS,
    SCENES,
    WIDTH,
    falling_light,
    from_the_line,
    on_a_desk,
    photograph,
    shadow,
    with_pen,
)

ROOT = Path(__file__).parents[2]
RAW = ROOT.parent / "shared/emnist"
PER_CLASS = 3
MANY = 12  # of each class, where three leave the difference of two conditions to chance
TIGHT = "tight crop"
# Points of accuracy that a condition may cost beside the clean page.
COST = {"mlp": 0.015, "cnn": 0.02}
COST_OF_A_PEN = 0.06
COST_OF_PAPER = 0.03  # beside the same characters as arrays
GLYPHS_PER_CLASS = 1
COST_OF_GLYPHS = (
    0.1  # of 47 characters, nearly five more: thick and thin lines of a font suffer most
)

needs_real = [
    pytest.mark.real,
    pytest.mark.skipif(not RAW.is_dir(), reason=f"the real characters are not in {RAW}"),
]
needs_none = pytest.mark.skipif(RAW.is_dir(), reason="the real characters are there")


@cache
def real(per_class: int = PER_CLASS) -> Characters:
    """Some characters of each class that the study has not seen."""
    left = load_left_over(RAW)
    rows = [np.flatnonzero(left.labels == label)[:per_class] for label in range(len(CLASSES))]
    some = np.concatenate(rows)
    return Characters(left.images[some], left.labels[some], CLASSES)


@cache
def glyphs() -> Characters:
    dice = np.random.default_rng(3)
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.uint8), GLYPHS_PER_CLASS)
    return Characters(np.stack([write(CLASSES[n], dice) for n in labels]), labels, CLASSES)


@cache
def models() -> dict[str, list[Fitted]]:
    """The fits of each family's final recipe: what one of them finds hard is chance."""
    folder = ROOT / "data/models"
    return {
        name: [Fitted.load(path) for path in sorted(folder.glob(f"{name}-seeds/*.safetensors"))]
        for name in COST
    }


@cache
def many() -> Characters:
    return real(MANY)


def seen(picture: np.ndarray) -> np.ndarray:
    """What the networks see; nothing, which no model reads, where no writing is found."""
    try:
        return emnist(pages(picture.astype(np.float32) / 255)[0])
    except EmptyPageError:
        return np.zeros((SIDE, SIDE), np.uint8)


@cache
def distances(sample: Callable[[], Characters]) -> list[np.ndarray]:
    return [from_the_line(image) for image in sample().images]


@cache
def accuracy(sample: Callable[[], Characters], condition: str | float) -> dict[str, float]:
    """Of both families, on the sample `as arrays`, in a scene, or by a pen of a width."""
    labels = sample().labels
    images = np.stack([*seen_in(sample, condition)])
    return {
        name: float(np.mean([one.probabilities(images).argmax(1) == labels for one in fits]))
        for name, fits in models().items()
    }


def seen_in(sample: Callable[[], Characters], condition: str | float) -> Iterator[np.ndarray]:
    for seed, image in enumerate(sample().images):
        dice = np.random.default_rng(seed)
        if condition == "as arrays":
            yield image
        elif isinstance(condition, str):
            yield seen(photograph(image / 255, SCENES[condition], dice))
        else:
            drawn = with_pen(distances(sample)[seed], condition)
            yield seen(photograph(drawn, SCENES["clean"], dice, side=256))


samples = pytest.mark.parametrize(
    ("sample", "allowance"),
    [
        pytest.param(real, 0.0, id="real", marks=needs_real),
        pytest.param(glyphs, COST_OF_GLYPHS, id="glyphs", marks=needs_none),
    ],
)


@samples
def test_a_photograph_of_a_clean_page_costs_little(
    sample: Callable[[], Characters], allowance: float
) -> None:
    for name, right in accuracy(sample, "clean").items():
        assert right >= accuracy(sample, "as arrays")[name] - COST_OF_PAPER - allowance


@samples
@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene not in ("clean", TIGHT)])
def test_a_scene_costs_hardly_anything_more(
    scene: str, sample: Callable[[], Characters], allowance: float
) -> None:
    for name, right in accuracy(sample, scene).items():
        assert right >= accuracy(sample, "clean")[name] - COST[name] - allowance


@pytest.mark.parametrize(
    ("sample", "allowance"),
    [
        pytest.param(many, 0.0, id="real", marks=needs_real),
        pytest.param(glyphs, COST_OF_GLYPHS, id="glyphs", marks=needs_none),
    ],
)
def test_a_tight_crop_costs_hardly_anything_more(
    sample: Callable[[], Characters], allowance: float
) -> None:
    for name, right in accuracy(sample, TIGHT).items():
        assert right >= accuracy(sample, "clean")[name] - COST[name] - allowance


@samples
@pytest.mark.parametrize("pen", PENS)
def test_a_pen_of_any_width_will_do(
    pen: float, sample: Callable[[], Characters], allowance: float
) -> None:
    for name, right in accuracy(sample, pen).items():
        assert right >= accuracy(sample, "clean")[name] - COST_OF_A_PEN - allowance


def paper(seed: int) -> np.ndarray:
    return PAPER + np.random.default_rng(seed).normal(0, NOISE, (HEIGHT, WIDTH))


def coarse_paper(seed: int) -> np.ndarray:
    return 0.8 + np.random.default_rng(seed).normal(0, 0.04, (HEIGHT, WIDTH))


def dotted(seed: int) -> np.ndarray:
    page = paper(seed)
    page[200:208, 260:268] = 0.1
    return page


def lamp(reach: float) -> np.ndarray:
    """Light that falls on all sides of a place near a corner."""
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
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("page", EMPTY)
def test_an_empty_page_is_called_empty(page: str, seed: int) -> None:
    with pytest.raises(EmptyPageError, match="an empty page"):
        pages(np.clip(EMPTY[page](seed), 0, 1).astype(np.float32))


def lettering(text: str, size: int = 120) -> np.ndarray:
    image = Image.new("L", (700, 300), 225)
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(image).text((60, 60), text, fill=30, font=font)
    return np.asarray(image, dtype=np.float32) / 255


@pytest.mark.parametrize(("text", "count"), [("7", 1), ("A7", 2), ("H3K", 3), ("j", 1), ("i", 1)])
def test_several_characters_are_told_apart(text: str, count: int) -> None:
    found = pages(lettering(text))
    assert len(found) == (1 if count == 1 else 1 + count)
    assert {page.shape for page in found} == {(PAGE_SIDE, PAGE_SIDE)}


def test_they_come_from_left_to_right() -> None:
    first, second = pages(lettering("A7"))[1:]
    assert np.abs(first - pages(lettering("A"))[0]).mean() < 0.02
    assert np.abs(second - pages(lettering("7"))[0]).mean() < 0.02


def test_dark_ink_on_paper_and_light_ink_on_slate_are_read_alike() -> None:
    (on_paper,), (on_slate,) = pages(lettering("7")), pages(1 - lettering("7"))
    assert on_paper.max() == pytest.approx(1, abs=0.01)
    assert np.abs(on_paper - on_slate).mean() < 0.01


def test_a_small_character_on_a_large_page_is_found() -> None:
    page = np.full((1500, 2000), 0.9, np.float32)
    small = lettering("7", size=90)
    page[300:600, 900:1600] = small + 0.9 - small.max()
    assert np.abs(pages(page)[0] - pages(lettering("7"))[0]).mean() < 0.05
