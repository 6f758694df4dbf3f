"""A small renderer: characters as photographs of pages, in the conditions that people meet.

Every photograph is paper of brightness 0.88 whose ink takes a share of the light away. The light is
multiplied on top, and the noise of a camera comes last.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from ablation.raw.glyphs import thin

HEIGHT, WIDTH = 400, 520
FINE = 10  # pixels of the grid that a line is found on, for one of the 28
CHARACTER = 224  # pixels of EMNIST's 28 on the photograph
PAPER = 0.88
PEN, PENCIL = 0.8, 0.3  # the share of the light that they take away
NOISE = 0.012


@dataclass(frozen=True)
class Scene:
    """A condition: what is on the page, how the light falls, and what is done to the picture.

    Attributes:
        ink: the share of the light that the writing takes away.
        light: (height, width) -> the light on the page, 1 where it is full.
        print: (height, width) -> what is on the page besides, as shares of light taken away.
        edit: what happens to the finished picture, (height, width) in 0..1, whose character lies
            in the given rows and columns.
    """

    ink: float = PEN
    light: Callable[[int, int], np.ndarray] | None = None
    print: Callable[[int, int], np.ndarray] | None = None
    edit: Callable[[np.ndarray, tuple[slice, slice]], np.ndarray] | None = None


def photograph(
    writing: np.ndarray, scene: Scene, dice: np.random.Generator, side: int = CHARACTER
) -> np.ndarray:
    """A page with one character.

    Args:
        writing: (n, n) float, where ink is, in 0..1.
        scene: the condition.
        dice: the place on the page and the camera's noise.
        side: how large the character's square becomes.

    Returns:
        (height, width) uint8.
    """
    top = int(dice.integers(20, max(21, HEIGHT - side - 20)))
    left = int(dice.integers(40, max(41, WIDTH - side - 40)))
    page = np.zeros((HEIGHT, WIDTH))
    page[top : top + side, left : left + side] = scene.ink * _enlarged(writing, side)
    if scene.print:
        page = np.maximum(page, scene.print(HEIGHT, WIDTH))
    picture = PAPER * (1 - ndimage.gaussian_filter(page, 0.7))
    if scene.light:
        picture = picture * scene.light(HEIGHT, WIDTH)
    picture = picture + dice.normal(0, NOISE, picture.shape)
    rows, columns = (np.flatnonzero((page > 0.4 * scene.ink).any(axis=axis)) for axis in (1, 0))
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    if scene.edit:
        picture = scene.edit(picture, place)
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), dtype=np.uint8)


def from_the_line(image: np.ndarray) -> np.ndarray:
    """How far each place is from the middle of the character's lines.

    Args:
        image: (28, 28) uint8, white on black.

    Returns:
        (320, 320) float16, in pixels, ten for one of the 28, with a margin of two of these.
    """
    mask = np.pad(_enlarged(image / 255, len(image) * FINE) > 0.5, 2 * FINE)
    distances = ndimage.distance_transform_edt(~thin(mask[None])[0])
    return np.asarray(distances, dtype=np.float16)


def with_pen(distances: np.ndarray, width: float) -> np.ndarray:
    """A character written by a pen of another width, in pixels of the 28: ink in 0..1."""
    return np.asarray(np.clip(width * FINE / 2 - distances.astype(np.float32) + 0.5, 0, 1))


def _enlarged(writing: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(np.asarray(writing, dtype=np.float32))
    large = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    steps = side / len(writing)  # pixels of blur become an edge of about two
    return np.asarray(np.clip((large - 0.45) * max(1.2, steps / 2) + 0.5, 0, 1))


def falling_light(height: int, width: int) -> np.ndarray:
    """Down to 55 % across the page."""
    return np.broadcast_to(np.linspace(1, 0.55, width), (height, width))


def shadow(depth: float, soft: float) -> Callable[[int, int], np.ndarray]:
    """A shadow whose edge runs across the middle of the page; `soft` in pixels."""

    def light(height: int, width: int) -> np.ndarray:
        rows, columns = np.mgrid[:height, :width]
        beyond = columns - width / 2 + 0.3 * (rows - height / 2)
        return np.asarray(1 - (1 - depth) / (1 + np.exp(-np.clip(beyond / soft, -50, 50))))

    return light


def squares(height: int, width: int) -> np.ndarray:
    """Paper with lines every 26 pixels."""
    lines = np.zeros((height, width))
    lines[::26] = lines[1::26] = lines[:, ::26] = lines[:, 1::26] = 0.28
    return lines


def dust(height: int, width: int) -> np.ndarray:
    """One dark dot near a corner."""
    rows, columns = np.mgrid[:height, :width]
    return np.asarray(PEN * (np.hypot(rows - 14, columns - width + 22) < 4))


def on_a_desk(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
    """The page lies on a desk that is dark."""
    desk = np.full((HEIGHT + 160, WIDTH + 200), 0.2)
    desk += np.random.default_rng(5).normal(0, NOISE, desk.shape)
    desk[80:-80, 100:-100] = picture
    return desk


def framed(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
    """A dark frame of three pixels."""
    whole = picture.copy()
    whole[:3] = whole[-3:] = whole[:, :3] = whole[:, -3:] = 0.08
    return whole


def cropped(picture: np.ndarray, place: tuple[slice, slice]) -> np.ndarray:
    """Cut out so that the ink touches every edge."""
    return picture[place]


def inverted(picture: np.ndarray, _place: tuple[slice, slice]) -> np.ndarray:
    """Chalk on a board."""
    return 1 - picture


SCENES = {
    "clean": Scene(),
    "falling light": Scene(light=falling_light),
    "shadow edge": Scene(light=shadow(0.6, soft=8)),
    "hard shadow": Scene(light=shadow(0.45, soft=0.5)),
    "desk": Scene(edit=on_a_desk),
    "frame": Scene(edit=framed),
    "pencil in falling light": Scene(ink=PENCIL, light=falling_light),
    "squared paper": Scene(print=squares),
    "dust": Scene(print=dust),
    "tight crop": Scene(edit=cropped),
    "chalk": Scene(edit=inverted),
}
PENS = (0.25, 0.5, 1.0, 2.0, 4.0, 6.0)
