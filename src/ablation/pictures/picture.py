"""From a picture's file to its brightness, whatever the form that people have it in."""

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from ablation.base.errors import LFS_POINTER, NOT_FETCHED, UserError, one_line
from ablation.pictures.bare import bare

MOST_PIXELS = 100_000_000  # of a picture that has to be unpacked whole: a gigabyte, for a moment
MOST_FRAMES = 50
ENOUGH = 2000  # pixels of a side that are read of a larger picture
WIDE = ("I", "F")  # how Pillow's names of modes of more than 8 bits start
FLOATS_END = {1: 0, 255: 16, 65535: 4096}  # where they may end, and the least that they then reach
OVER = 1.05  # by so much a resampled picture may exceed it
LEAST_BITS = 8
WHITE_IS_ZERO = 0  # of a TIFF's photometric interpretations
UNSIGNED = (None, 1)  # of its sample formats; what is not said is unsigned
STARTS_WITHIN = 1024  # bytes of a file that tell its form
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"heif", b"hevc", b"mif1", b"msf1")
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
# EXIF's orientation to what turns the picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CONVERT = {
    "HEIC": "magick photo.heic photo.png, or send it as JPEG",
    "SVG": "rsvg-convert drawing.svg --output drawing.png",
    "PDF": "pdftoppm -png -r 150 page.pdf page",
    "PostScript": "gs -sDEVICE=png16m -r150 -o page.png page.ps",
}

# The values of pictures of more than 8 bits that are black and white: the scale of a data set.
Levels = tuple[float, float]

# Pillow takes large pictures for attacks: `_brightness` says what is too large. And it warns of odd
# metadata, which nobody asked for.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


class PictureError(UserError):
    """A file that is no picture that can be read; the message says what to do."""


def brightness_of(source: Path | BinaryIO, levels: Levels | None = None) -> Iterator[np.ndarray]:
    """A picture's frames, one after the other; most pictures have one.

    White on a transparent ground and black on one both stand out from the ground.

    Args:
        source: a file, or an open one.
        levels: of the data set that it belongs to; without them the least number of bits that
            holds a picture's values tells what is white. Pictures of 8 bits need none.

    Yields:
        (height, width) float32 in 0..1, upright as a camera meant it.

    Raises:
        PictureError: no picture, or not one that can be read.
    """
    with _picture_errors(), _opened(source) as file:
        for image in _frames(file):
            yield _brightness(image, levels)


def levels_of(source: Path | BinaryIO) -> Levels | None:
    """The least and the largest value of a picture's first frame; None if it is of 8 bits or fewer.

    The least is 0 where none is negative. If zero is white, they are still its values as stored.

    Raises:
        PictureError: no picture, or not one that can be read.
    """
    with _picture_errors(), _opened(source) as file:
        with suppress(Exception), Image.open(file) as unread:
            if not unread.mode.startswith(WIDE):
                return None  # as most are, and their pixels need not be read
        image = next(_frames(file))
        values = _values(image)
        return min(0.0, float(values.min())), float(values.max())


@contextmanager
def _picture_errors() -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except IsADirectoryError:
        raise PictureError("a folder, not an image; name the images in it") from None
    except UnidentifiedImageError:
        raise PictureError("not an image that can be read; save it as PNG or JPEG") from None
    except MemoryError:
        raise PictureError("memory was refused; save it smaller") from None
    except Exception as error:  # a decoder raises anything that a damaged file leads it to
        if isinstance(error, OSError) and error.errno is not None:  # the system's own
            raise PictureError(f"{error.strerror}; name a picture") from None
        said = textwrap.shorten(one_line(error), 200)
        raise PictureError(f"not an image that can be read ({said})") from None


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
    with opened as file:
        file.seek(0)
        _check_form(file.read(STARTS_WITHIN))
        file.seek(0)
        yield file


def _frames(file: BinaryIO) -> Iterator[Image.Image]:
    """Each frame when it is asked for, with its pixels; a large JPEG at a fraction of its size.

    What is wrong beside the pixels costs no picture.
    """
    begun = False
    try:
        for image in _frames_of(file):
            begun = True
            yield image
    except UserError:
        raise
    except Exception:
        file.seek(0)
        pixels = None if begun else bare(file.read())
        if pixels is None:
            raise
        yield from _frames_of(io.BytesIO(pixels))


def _frames_of(file: BinaryIO) -> Iterator[Image.Image]:
    file.seek(0)
    with Image.open(file) as image:
        for number in range(min(getattr(image, "n_frames", 1), MOST_FRAMES)):
            image.seek(number)
            image.draft(None, (ENOUGH, ENOUGH))
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise PictureError(
                    f"{width * height / 1e6:.0f} megapixels, more than {MOST_PIXELS / 1e6:.0f}; "
                    "save it smaller, a few megapixels are plenty"
                )
            image.load()
            yield image


def _check_form(start: bytes) -> None:
    if start.startswith(LFS_POINTER):
        raise PictureError(NOT_FETCHED)
    if form := _unreadable_form(start):
        raise PictureError(f"{form} is not read; convert it: {CONVERT[form]}")


def _unreadable_form(start: bytes) -> str | None:
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS and b"avif" not in start[:64]:
        return "HEIC"
    if start.startswith(POSTSCRIPT):  # Pillow would run another program
        return "PostScript"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and b"<svg" in text:
        return "SVG"
    return "PDF" if text.startswith(b"%PDF") else None


def _brightness(image: Image.Image, levels: Levels | None) -> np.ndarray:
    step = max(1, max(image.size) // ENOUGH)
    if image.mode.startswith(WIDE):
        brightness = _from_wide(image, levels)[::step, ::step]
    else:
        plain = image if image.mode in ("L", "RGB", "RGBA", "CMYK") else image.convert("RGBA")
        small = plain.reduce(step) if step > 1 else plain
        brightness = _on_a_ground(small.convert("RGBA"))
    turn = UPRIGHT.get(_orientation(image))
    return np.asarray(Image.fromarray(brightness).transpose(turn)) if turn else brightness


def _orientation(image: Image.Image) -> Any:
    """As the metadata have it; anything, None if they cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises anything that damaged metadata lead it to
        return None


def _from_wide(image: Image.Image, levels: Levels | None) -> np.ndarray:
    """From more than 8 bits: (height, width) float32 in 0..1."""
    values = _values(image)
    black, white = levels or _likely_levels(values, image.mode == "F")
    brightness = np.clip((values - black) / (white - black or 1), 0, 1)
    is_inverted = _tag(image, PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
    return np.asarray(1 - brightness if is_inverted else brightness, dtype=np.float32)


def _values(image: Image.Image) -> np.ndarray:
    """(height, width) float64 as stored; what is no number is 0."""
    values = np.asarray(image)
    if image.format == "TIFF" and image.mode == "I" and _tag(image, SAMPLEFORMAT) in UNSIGNED:
        values = values.view(np.uint32)  # a mode that Pillow lacks
    return np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)


def _tag(image: Image.Image, number: int) -> object:
    """The value of a TIFF's tag; None in other files, and where it does not stand."""
    found = getattr(image, "tag_v2", {}).get(number)
    return found[0] if isinstance(found, tuple) and found else found


def _likely_levels(values: np.ndarray, floats: bool) -> Levels:
    """Of a picture alone: where its bits end, of floats at a usual value or else the largest."""
    black = min(0.0, float(values.min()))
    reach = float(values.max()) - black
    if floats:
        usual = (end for end, least in FLOATS_END.items() if least <= reach <= OVER * end)
        return black, black + next(usual, reach)
    return black, black + 2.0 ** max(LEAST_BITS, int(reach).bit_length()) - 1


def _on_a_ground(colours: Image.Image) -> np.ndarray:
    """White shows through, or black where all that can be seen is light."""
    alpha = np.asarray(colours.getchannel("A"), dtype=np.float32) / 255
    grey = np.asarray(colours.convert("RGB").convert("L"), dtype=np.float32) / 255
    if alpha.min() == 1:
        return grey
    seen = grey[alpha > 0.5]
    light = seen.size and np.percentile(seen, 10) > 0.5 and alpha.mean() < 0.9
    return np.asarray(grey * alpha + (0 if light else 1) * (1 - alpha))
