"""A small renderer of synthetic photographs of characters, in common conditions.

Paper has a brightness of 0.88, of which ink absorbs a share. The result is multiplied by the light,
and camera noise is added last.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ablation.raw.glyphs import thin

HEIGHT, WIDTH = 400, 520
SHEET = (2400, 1800)  # a whole page, in a phone's photograph
FORM = (900, 1200)  # a part of one
FINE = 10  # pixels of the grid that a line is found on, for one of the 28
CHARACTER = 224  # pixels of EMNIST's 28 on the photograph
PAPER = 0.88
PEN, PENCIL = 0.8, 0.3  # the share of the light that it absorbs
NOISE = 0.012


Box = tuple[int, int, int, int]  # left, top, right, bottom of the ink


@dataclass(frozen=True)
class Scene:
    """A condition: the content of the page, the light, and edits of the picture.

    Attributes:
        size: (height, width) of the page.
        side: pixels of the character's 28 x 28 square, of which the ink spans 24.
        corner: whether the character is near a corner of the page instead of anywhere.
        ink: the share of the light that ink absorbs.
        light: (height, width) -> the light on the page, at most 1.
        paper: (height, width) -> other content of the page, as the share of light absorbed.
        form: draws printed lines around a character's box; 255 absorbs all light.
        turn: maximum rotation of the page, in degrees.
        edit: a function of the finished picture, (height, width) in 0..1, and of the rows and
            columns of the character.
    """

    size: tuple[int, int] = (HEIGHT, WIDTH)
    side: int = CHARACTER
    corner: bool = False
    ink: float = PEN
    light: Callable[[int, int], np.ndarray] | None = None
    paper: Callable[[int, int], np.ndarray] | None = None
    form: Callable[[ImageDraw.ImageDraw, Box], None] | None = None
    turn: float = 0
    edit: Callable[[np.ndarray, tuple[slice, slice]], np.ndarray] | None = None


def photograph(
    writing: np.ndarray, scene: Scene, generator: np.random.Generator, side: int | None = None
) -> np.ndarray:
    """A page with one character.

    Args:
        writing: (n, n) float, ink in 0..1.
        scene: the condition.
        generator: for the position on the page and the camera noise.
        side: the height of the writing in pixels; by default that of the scene.

    Returns:
        (height, width) uint8.
    """
    height, width = scene.size
    side = side or scene.side
    if scene.corner:
        top, left = 40, width - side - 60
    else:
        top = int(generator.integers(20, max(21, height - side - 20)))
        left = int(generator.integers(40, max(41, width - side - 40)))
    page = np.zeros((height, width), np.float32)
    page[top : top + side, left : left + side] = scene.ink * _enlarged(writing, side)
    if scene.form:
        rows, columns = _place(page, 0.4 * scene.ink)
        sheet = Image.fromarray(np.zeros((height, width), np.uint8))
        box = (columns.start, rows.start, columns.stop, rows.stop)
        scene.form(ImageDraw.Draw(sheet), box)
        page = np.maximum(page, np.asarray(sheet) / np.float32(255))
    if scene.turn:
        page = _turned(page, generator.uniform(-scene.turn, scene.turn))
    if scene.paper:
        page = np.maximum(page, scene.paper(height, width).astype(np.float32))
    picture = PAPER * (1 - cv2.GaussianBlur(page, (0, 0), 0.7))
    if scene.light:
        picture = picture * scene.light(height, width).astype(np.float32)
    picture = picture + NOISE * generator.standard_normal(picture.shape, np.float32)
    if scene.edit:
        picture = scene.edit(picture, _place(page, 0.4 * scene.ink))
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), dtype=np.uint8)


def _place(page: np.ndarray, least: float) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero((page > least).any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _turned(picture: np.ndarray, degrees: float, ground: float = 0) -> np.ndarray:
    height, width = picture.shape
    about = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    way = cv2.INTER_LINEAR
    turned = cv2.warpAffine(picture, about, (width, height), flags=way, borderValue=(ground,))
    return np.asarray(turned)


def from_the_line(image: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the centre line of the character's strokes.

    Args:
        image: (28, 28) uint8, white on black.

    Returns:
        (320, 320) float16, in pixels: ten per original pixel, with a margin of two original ones.
    """
    mask = np.pad(_enlarged(image / 255, len(image) * FINE) > 0.5, 2 * FINE)
    distances = ndimage.distance_transform_edt(~thin(mask[None])[0])
    return np.asarray(distances, dtype=np.float16)


def with_pen(distances: np.ndarray, width: float) -> np.ndarray:
    """A character with another pen width, in pixels of the 28: ink in 0..1."""
    return np.asarray(np.clip(width * FINE / 2 - distances.astype(np.float32) + 0.5, 0, 1))


def _enlarged(writing: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(np.asarray(writing, dtype=np.float32))
    large = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    steps = side / len(writing)  # pixels of blur become an edge of about two
    return np.asarray(np.clip((large - 0.45) * max(1.2, steps / 2) + 0.5, 0, 1))


def falling_light(height: int, width: int) -> np.ndarray:
    """Light that falls to 55 % across the page."""
    return np.broadcast_to(np.linspace(1, 0.55, width), (height, width))


def shadow(depth: float, soft: float) -> Callable[[int, int], np.ndarray]:
    """A shadow whose edge runs across the middle of the page; `soft` in pixels."""

    @cache
    def light(height: int, width: int) -> np.ndarray:
        rows, columns = np.mgrid[:height, :width]
        beyond = columns - width / 2 + 0.3 * (rows - height / 2)
        return np.asarray(1 - (1 - depth) / (1 + np.exp(-np.clip(beyond / soft, -50, 50))))

    return light


@cache
def squares(height: int, width: int) -> np.ndarray:
    """Squared paper, with lines every 26 pixels."""
    lines = np.zeros((height, width))
    lines[::26] = lines[1::26] = lines[:, ::26] = lines[:, 1::26] = 0.28
    return lines


def dust(height: int, width: int) -> np.ndarray:
    """A dark dot near a corner."""
    rows, columns = np.mgrid[:height, :width]
    return np.asarray(PEN * (np.hypot(rows - 14, columns - width + 22) < 4))


Edit = Callable[[np.ndarray, tuple[slice, slice]], np.ndarray]


def on_a_desk(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
    """The page on a dark desk."""
    desk = np.full((picture.shape[0] + 160, picture.shape[1] + 200), 0.2)
    desk += np.random.default_rng(5).normal(0, NOISE, desk.shape)
    desk[80:-80, 100:-100] = picture
    return desk


def framed(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
    """A dark frame, three pixels wide."""
    whole = picture.copy()
    whole[:3] = whole[-3:] = whole[:, :3] = whole[:, -3:] = 0.08
    return whole


def cropped(picture: np.ndarray, place: tuple[slice, slice]) -> np.ndarray:
    """Cropped, so that the ink touches every edge."""
    return picture[place]


def inverted(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
    """Chalk on a board."""
    return 1 - picture


@cache
def ruled(height: int, width: int) -> np.ndarray:
    """Ruled paper, with lines every 60 pixels."""
    lines = np.zeros((height, width))
    lines[::60] = lines[1::60] = lines[2::60] = 0.28
    return lines


@cache
def from_a_corner(height: int, width: int) -> np.ndarray:
    """Light from a corner, falling to 30 %."""
    down, across = np.linspace(1, 0.6, height), np.linspace(1, 0.5, width)
    return np.asarray(down[:, None] * across)


def _around(box: Box, margin: float) -> Box:
    left, top, right, bottom = box
    more = round(margin * max(right - left, bottom - top))
    middle, half = (left + right) // 2, (bottom - top) // 2  # no box is as narrow as a 1
    half = max(half * 3 // 4, (right - left) // 2)
    return middle - half - more, top - more, middle + half + more, bottom + more


Form = Callable[[ImageDraw.ImageDraw, Box], None]
PRINT = 220  # how dark print is


def box(margin: float = 0.25, width: int = 4, dark: int = PRINT, radius: int = 0) -> Form:
    def form(pen: ImageDraw.ImageDraw, ink: Box) -> None:
        pen.rounded_rectangle(_around(ink, margin), radius, outline=dark, width=width)

    return form


def both(*forms: Form) -> Form:
    def form(pen: ImageDraw.ImageDraw, ink: Box) -> None:
        for each in forms:
            each(pen, ink)

    return form


def circle(pen: ImageDraw.ImageDraw, ink: Box) -> None:
    left, top, right, bottom = ink
    radius = 0.62 * np.hypot(right - left, bottom - top)
    across, down = (left + right) / 2, (top + bottom) / 2
    pen.ellipse(
        (across - radius, down - radius, across + radius, down + radius), outline=PRINT, width=5
    )


def table(pen: ImageDraw.ImageDraw, ink: Box) -> None:
    """The middle cell of three by five."""
    left, top, right, bottom = _around(ink, 0.2)
    height, width = bottom - top, right - left
    for row in range(-1, 3):
        down = top + row * height
        pen.line((left - 2 * width, down, right + 2 * width, down), fill=PRINT, width=3)
    for column in range(-2, 4):
        across = left + column * width
        pen.line((across, top - height, across, bottom + height), fill=PRINT, width=3)


def comb(pen: ImageDraw.ImageDraw, ink: Box) -> None:
    """The middle one of five boxes of a comb, open at the top."""
    left, top, right, bottom = _around(ink, 0.12)
    width = right - left
    pen.line((left - 2 * width, bottom, right + 2 * width, bottom), fill=PRINT, width=3)
    for column in range(-2, 4):
        across = left + column * width
        pen.line((across, (top + bottom) // 2, across, bottom), fill=PRINT, width=3)


def rule(gap: float) -> Form:
    """A line below the ink, at this distance as a share of its height; 0 or less touches it."""

    def form(pen: ImageDraw.ImageDraw, ink: Box) -> None:
        left, top, right, bottom = ink
        down = bottom + round(gap * (bottom - top))
        reach = 1.2 * (bottom - top)
        pen.line((left - reach, down, right + reach, down), fill=PRINT, width=4)

    return form


def crop_marks(pen: ImageDraw.ImageDraw, ink: Box) -> None:
    left, top, right, bottom = _around(ink, 0.35)
    long = (bottom - top) // 8
    for across, way in ((left, 1), (right, -1)):
        for down, fall in ((top, 1), (bottom, -1)):
            pen.line((across, down, across + way * long, down), fill=PRINT, width=3)
            pen.line((across, down, across, down + fall * long), fill=PRINT, width=3)


def label(text: str) -> Form:
    """A printed label to the left, a third as high."""

    def form(pen: ImageDraw.ImageDraw, ink: Box) -> None:
        left, _, _, bottom = _around(ink, 0.3)
        font = ImageFont.load_default(size=max(10, (ink[3] - ink[1]) // 3))
        pen.text((left - 10, bottom), text, fill=PRINT, font=font, anchor="rs")

    return form


@cache
def _wood(height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(3)
    grain = ndimage.gaussian_filter(generator.normal(0, 1, (height, width)), (1, 40))
    return np.asarray(0.25 + 0.06 * grain / grain.std())


@cache
def _tiles(height: int, width: int) -> np.ndarray:
    tiles = np.full((height, width), 0.45)
    tiles += np.random.default_rng(4).normal(0, 0.02, tiles.shape)
    for offset in range(6):
        tiles[offset::150] = tiles[:, offset::150] = 0.2
    return tiles


@cache
def _keyboard(height: int, width: int) -> np.ndarray:
    keys = np.full((height, width), 0.1)
    for top in range(0, height, 70):
        for left in range(-20 * (top // 70 % 3), width, 70):
            keys[top + 6 : top + 64, max(0, left + 6) : left + 64] = 0.3
            keys[top + 20 : top + 34, max(0, left + 20) : left + 28] = 0.8
    return keys


def lying_on(ground: Callable[[int, int], np.ndarray], degrees: float, margin: float = 0.2) -> Edit:
    """A rotated page on a background.

    Args:
        ground: (height, width) -> its brightness in 0..1.
        degrees: rotation of the page.
        margin: visible background around the page, as a share of the page's longer side.
    """

    def edit(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
        more = round(margin * max(picture.shape))
        page = np.pad(picture.astype(np.float32), more, constant_values=-1)
        page = _turned(page, degrees, ground=-1)
        return np.where(page < -0.02, ground(*page.shape), page)

    return edit


SMALL = Scene(size=SHEET, side=117)  # 100 pixels of ink
SMALLER = Scene(size=SHEET, side=82)  # 70
SMALLEST = Scene(size=SHEET, side=43)  # 37: 1.5 % of the longer side
ON_FORM = Scene(size=FORM, side=190, turn=1.5)
PAGE_SCENES = {
    "clean": Scene(),
    "falling light": Scene(light=falling_light),
    "shadow edge": Scene(light=shadow(0.6, soft=8)),
    "hard shadow": Scene(light=shadow(0.45, soft=0.5)),
    "desk": Scene(edit=on_a_desk),
    "frame": Scene(edit=framed),
    "pencil in falling light": Scene(ink=PENCIL, light=falling_light),
    "squared paper": Scene(paper=squares),
    "dust": Scene(paper=dust),
    "tight crop": Scene(edit=cropped),
    "chalk": Scene(edit=inverted),
}
SMALL_SCENES = {
    "100 px on a sheet": SMALL,
    "100 px, falling light": replace(SMALL, light=falling_light),
    "70 px": SMALLER,
    "70 px, falling light": replace(SMALLER, light=falling_light),
    "70 px, light from a corner": replace(SMALLER, light=from_a_corner),
    "70 px, hard shadow": replace(SMALLER, light=shadow(0.45, soft=0.5)),
    "70 px in a corner": replace(SMALLER, corner=True),
    "70 px in a corner, falling light": replace(SMALLER, corner=True, light=falling_light),
    "70 px, ruled": replace(SMALLER, paper=ruled),
    "70 px, squared, falling light": replace(SMALLER, paper=squares, light=falling_light),
    "37 px": SMALLEST,
    "37 px, falling light": replace(SMALLEST, light=falling_light),
    "70 px, chalk": replace(SMALLER, edit=inverted),
    "70 px on a desk": replace(SMALLER, edit=on_a_desk),
}
PRINT_SCENES = {
    "box": replace(ON_FORM, form=box()),
    "box that fills the picture": Scene(side=170, form=box(margin=0.4)),
    "tight box": replace(ON_FORM, form=box(margin=0.08)),
    "rounded box": replace(ON_FORM, form=box(radius=40)),
    "double box": replace(ON_FORM, form=both(box(0.25, 3), box(0.32, 3))),
    "coloured box": replace(ON_FORM, form=box(dark=130, width=5)),
    "thick box": replace(ON_FORM, form=box(margin=0.35, width=14)),
    "small box on a sheet": replace(SMALLER, form=box(width=3)),
    "table cell": replace(ON_FORM, side=150, form=table),
    "comb": replace(ON_FORM, side=150, form=comb),
    "rule below": replace(ON_FORM, form=rule(0.15)),
    "rule that is touched": replace(ON_FORM, form=rule(-0.03)),
    "circle": replace(ON_FORM, form=circle),
    "crop marks": replace(ON_FORM, form=crop_marks),
    "label beside": replace(ON_FORM, form=label("Code")),
    "label and box": replace(ON_FORM, form=both(label("Code"), box())),
    "box, falling light": replace(ON_FORM, form=box(), light=falling_light),
}
DESK_SCENES = {
    "wood": Scene(edit=lying_on(_wood, 0)),
    "wood, turned 9 degrees": Scene(edit=lying_on(_wood, 9)),
    "wood, turned 30 degrees": Scene(edit=lying_on(_wood, 30, margin=0.4)),
    "sheet on wood, 70 px": replace(SMALLER, edit=lying_on(_wood, 6)),
    "tiles": Scene(edit=lying_on(_tiles, 5)),
    "keyboard": Scene(edit=lying_on(_keyboard, -4)),
}
SCENES = PAGE_SCENES | SMALL_SCENES | PRINT_SCENES | DESK_SCENES
PENS = (0.25, 0.5, 1.0, 2.0, 4.0, 6.0)
