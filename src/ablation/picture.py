"""From a picture's file to its brightness, whatever the form that people have it in."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ablation.base.errors import UserError

MOST_PIXELS = 150_000_000  # of a picture that has to be unpacked whole
MOST_FRAMES = 50
ENOUGH = 2000  # pixels of a side that are read of a larger picture
WIDE = ("I", "F")  # how Pillow's names of modes of more than 8 bits start
STARTS_WITHIN = 1024  # bytes of a file that tell its form
HEIC_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1")

CONVERT = {
    "HEIC": "magick photo.heic photo.png, or send it as JPEG",
    "SVG": "rsvg-convert drawing.svg --output drawing.png",
    "PDF": "pdftoppm -png -r 150 page.pdf page",
}


class PictureError(UserError):
    """A file that is no picture that can be read; the message says what to do."""


def brightness_of(source: Path | BinaryIO) -> Iterator[np.ndarray]:
    """A picture's frames, one after the other; most pictures have one.

    White on a transparent ground and black on one both stand out from the ground.

    Args:
        source: a file, or an open one.

    Yields:
        (height, width) float32 in 0..1, upright as a camera meant it.

    Raises:
        PictureError: no picture, or not one that can be read.
    """
    if isinstance(source, Path):
        _check_file(source)
    try:
        with _no_alarm(), Image.open(source) as image:
            for number in range(min(getattr(image, "n_frames", 1), MOST_FRAMES)):
                image.seek(number)
                yield _brightness(image)
    except UserError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not an image that can be read; save it as PNG or JPEG") from None
    except Exception as error:  # a decoder raises anything that a damaged file leads it to
        raise PictureError(f"not an image that can be read ({error})") from None


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise PictureError("a folder, not an image; name the images in it")
    try:
        with path.open("rb") as file:
            start = file.read(STARTS_WITHIN)
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except OSError as error:
        raise PictureError(f"cannot be read ({error.strerror})") from None
    form = _unreadable_form(start)
    if form:
        raise PictureError(f"{form} is not read; convert it: {CONVERT[form]}")


def _unreadable_form(start: bytes) -> str | None:
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS and b"avif" not in start[:64]:
        return "HEIC"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and b"<svg" in text:
        return "SVG"
    return "PDF" if text.startswith(b"%PDF") else None


@contextmanager
def _no_alarm() -> Iterator[None]:
    """Pillow takes large pictures for attacks; `_brightness` stops what is too large."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _brightness(image: Image.Image) -> np.ndarray:
    image.draft(None, (ENOUGH, ENOUGH))  # a large JPEG is read at a fraction of its size
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise PictureError(
            f"{width * height / 1e6:.0f} megapixels, more than {MOST_PIXELS / 1e6:.0f}; "
            "save it smaller, a few megapixels are plenty"
        )
    step = max(1, max(width, height) // ENOUGH)
    if image.mode.startswith(WIDE):
        values = np.asarray(ImageOps.exif_transpose(image))
        return _from_wide(values[::step, ::step].astype(np.float64))
    turn = image.getexif().tobytes()  # which `reduce` forgets
    plain = image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGBA")
    small = plain.reduce(step) if step > 1 else plain
    small.info["exif"] = turn
    return _on_a_ground(ImageOps.exif_transpose(small).convert("RGBA"))


def _from_wide(values: np.ndarray) -> np.ndarray:
    """From 16 or 32 bits or floats: 0..1, 0..255 or 0..65535, whichever holds them."""
    values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
    values = values - min(0, values.min())
    top = next((top for top in (1, 255, 65535) if values.max() <= top), values.max())
    return np.asarray(values / top, dtype=np.float32)


def _on_a_ground(colours: Image.Image) -> np.ndarray:
    """White shows through, or black where all that can be seen is light."""
    alpha = np.asarray(colours.getchannel("A"), dtype=np.float32) / 255
    grey = np.asarray(colours.convert("RGB").convert("L"), dtype=np.float32) / 255
    if alpha.min() == 1:
        return grey
    seen = grey[alpha > 0.5]
    light = seen.size and np.percentile(seen, 10) > 0.5 and alpha.mean() < 0.9
    return np.asarray(grey * alpha + (0 if light else 1) * (1 - alpha))
