"""Strips metadata from pictures that Pillow refuses because of it.

Text, colour profiles, resolution or maker notes may be too long, corrupt or of the wrong type.
Browsers and viewers ignore such errors.
"""

import struct
import zlib
from contextlib import suppress

PNG = b"\x89PNG\r\n\x1a\n"
# The ancillary chunks that are kept: transparency, animation frames and EXIF, for its orientation.
CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
# The TIFF tags that are kept: sizes, samples, compression, orientation, strips, tiles and colours.
TAGS = {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 284, 292, 293, 317, 320}
TAGS |= {*range(322, 326), 338, 339, 347, *range(512, 522), *range(529, 533)}


def strip_metadata(content: bytes) -> bytes | None:
    """A PNG, or the first page of a TIFF, without metadata; None for any other file."""
    if content.startswith(PNG):
        return _strip_png(content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        with suppress(struct.error):  # truncated
            return _strip_tiff(content)
    return None


def _strip_png(content: bytes) -> bytes:
    """Keep critical chunks regardless of their checksums, and `CHUNKS` with valid checksums.

    Source:
        Portable Network Graphics (PNG) Specification, third edition, sections 5.3 and 13.2.
    """
    kept, at = [PNG], len(PNG)
    while chunk := content[at : at + 12 + int.from_bytes(content[at : at + 4])]:
        kind, checksum = chunk[4:8], int.from_bytes(chunk[-4:])
        if kind[:1].isupper() or (kind in CHUNKS and zlib.crc32(chunk[4:-4]) == checksum):
            kept.append(chunk)
        at += len(chunk)
    return b"".join(kept)


def _strip_tiff(content: bytes) -> bytes:
    """Replace the first directory by a shorter one with `TAGS` only.

    Source:
        TIFF, revision 6.0, section 2.
    """
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    entries = [content[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if struct.unpack(f"{order}H", entry[:2])[0] in TAGS]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:start] + directory + content[start + len(directory) :]
