"""What names of files and of classes may hold, and how they are shown."""

import unicodedata

# Unicode's categories of what steers a terminal, of what is no character, and of ends of lines.
STEERING = ("Cc", "Cs", "Zl", "Zp")
# Bidi_Class of what turns all text after it, also that which stands beside a name.
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def steers(sign: str) -> bool:
    """Whether a character does something to the text around it; joiners and spaces do not."""
    is_control = unicodedata.category(sign) in STEERING
    return is_control or unicodedata.bidirectional(sign) in TURNING


def harmless(text: str) -> str:
    """As it may stand in a line on a terminal: `?` for each character that steers."""
    return "".join("?" if steers(sign) else sign for sign in text)
