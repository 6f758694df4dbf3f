"""From a picture's file to its brightness, whatever the form that people have it in."""

import textwrap
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ablation.base.errors import UserError, one_line

MOST_PIXELS = 100_000_000  # of a picture that has to be unpacked whole: a gigabyte, for a moment
MOST_FRAMES = 50
ENOUGH = 2000  # pixels of a side that are read of a larger picture
WIDE = ("I", "F")  # how Pillow's names of modes of more than 8 bits start
TOPS = (1, 255, 65535)  # where such values may end
OVER = 1.05  # by so much a resampled picture may exceed it
STARTS_WITHIN = 1024  # bytes of a file that tell its form
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"heif", b"hevc", b"mif1", b"msf1")
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
CONVERT = {
    "HEIC": "magick photo.heic photo.png, or send it as JPEG",
    "SVG": "rsvg-convert drawing.svg --output drawing.png",
    "PDF": "pdftoppm -png -r 150 page.pdf page",
    "PostScript": "gs -sDEVICE=png16m -r150 -o page.png page.ps",
}


# Pillow takes large pictures for attacks: `_brightness` says what is too large. And it warns of odd
# metadata, which nobody asked for.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


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
    try:
        opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
        with opened as file:
            file.seek(0)
            _check_form(file.read(STARTS_WITHIN))
            file.seek(0)
            with Image.open(file) as image:
                for number in range(min(getattr(image, "n_frames", 1), MOST_FRAMES)):
                    image.seek(number)
                    yield _brightness(image)
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


def _check_form(start: bytes) -> None:
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
    plain = image if image.mode in ("L", "RGB", "RGBA", "CMYK") else image.convert("RGBA")
    small = plain.reduce(step) if step > 1 else plain
    small.info["exif"] = turn
    return _on_a_ground(ImageOps.exif_transpose(small).convert("RGBA"))


def _from_wide(values: np.ndarray) -> np.ndarray:
    """From 16 or 32 bits or floats: 0..1, 0..255 or 0..65535, whichever holds them."""
    values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
    values = values - min(0, values.min())
    top = next((top for top in TOPS if values.max() <= OVER * top), values.max())
    return np.asarray(np.clip(values / top, 0, 1), dtype=np.float32)


def _on_a_ground(colours: Image.Image) -> np.ndarray:
    """White shows through, or black where all that can be seen is light."""
    alpha = np.asarray(colours.getchannel("A"), dtype=np.float32) / 255
    grey = np.asarray(colours.convert("RGB").convert("L"), dtype=np.float32) / 255
    if alpha.min() == 1:
        return grey
    seen = grey[alpha > 0.5]
    light = seen.size and np.percentile(seen, 10) > 0.5 and alpha.mean() < 0.9
    return np.asarray(grey * alpha + (0 if light else 1) * (1 - alpha))
