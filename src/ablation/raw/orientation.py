"""Recognises EMNIST by its class means, for raw files without a published checksum."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ablation.data.characters import CLASSES, SIDE

BLOCK = 4  # pixels
STEP = 17  # grey levels per step of the digits below
# Maximum distance of the class means from those below, in grey levels: mean over all classes, and
# maximum of any class. Measured on 400 characters per class: 3.8 and 5.4 for EMNIST, and a mean of
# 18.8 for the closest mistake. With 10 to 70 % upper case in Letters: 7.7, 17 and 18.9.
MAX_MEAN, MAX_ANY = 9.0, 20.0

# The mean image of each class over the test partitions of ByMerge and ByClass (lower case as in
# ByMerge), in blocks of 4 x 4 pixels: seven rows of hexadecimal digits, 0 black to f white.
CLASS_MEANS = {
    "0": "0001100 0149a50 0386581 0761391 1942760 07a9710 0122000",
    "1": "0001100 0005610 0008500 001b200 0049100 0166100 0011000",
    "2": "0011100 0368730 0134540 0125630 1599830 1898751 0111110",
    "3": "0013210 0268950 0026840 0048940 0111660 0588830 0133100",
    "4": "0000110 0142550 0473830 0698930 0358620 0135310 0011100",
    "5": "0001110 0158861 0485210 0476410 1224520 1687410 0122100",
    "6": "0001100 0136410 0165100 0384530 0688860 05ba920 0033100",
    "7": "0122210 0499a70 0232840 0114720 0026410 0145200 0011000",
    "8": "0013310 0278850 0376830 018b510 0487410 0587410 0132100",
    "9": "0013310 0187840 0485a30 0268910 0026510 0035310 0011100",
    "A": "0001110 0026741 0158751 03a9971 0785850 1722530 0100100",
    "B": "0023210 0367751 0366750 0498950 0662461 1787740 0133200",
    "C": "0001100 0158730 0586520 1941110 1952230 0588750 0012100",
    "D": "0122100 0378630 0265561 0362282 0563571 1798730 0122100",
    "E": "0011110 0268751 0485320 07b9610 1963210 1898620 0121100",
    "F": "0012320 0147751 0265210 0497520 0575200 1442100 0111000",
    "G": "0012210 0167630 0562210 1735651 2736861 1777630 0133100",
    "H": "0000110 0232351 0363560 05a8a60 0764830 1633520 0111100",
    "I": "0001100 0016510 0018500 002b300 004a200 0157200 0011000",
    "J": "0011110 0235641 0114520 0003520 1324520 1477510 0122100",
    "K": "0111000 0243331 0376620 05a8310 0787410 1644640 0100110",
    "L": "0001100 0014410 0127400 0128100 0147100 0266310 0111000",
    "M": "0000000 0222121 1687782 1969682 3826272 1201131 0000000",
    "N": "0000010 0131151 0385281 06a7571 1958840 2624520 0100000",
    "O": "0001100 0148940 0398881 0872491 1964860 06aa610 0011000",
    "P": "0013310 0157751 0275561 02a7630 0483100 0551000 0110000",
    "Q": "0013310 0278850 0662361 1735461 2747950 0467741 0011110",
    "R": "0012210 0247751 0376651 05b9620 1887510 1634640 0100110",
    "S": "0001110 0159850 0387310 0158720 0323860 059a830 0012100",
    "T": "0011110 1579861 1358320 0155100 0254100 0232100 0000000",
    "U": "0000000 0331251 1651570 1832760 1967940 1686530 0111000",
    "V": "0000010 0420471 0652850 0676720 0599410 0486200 0111000",
    "W": "0000000 1211032 2624163 2758362 3888751 1544520 0100000",
    "X": "0000110 0352550 0278820 016c500 0298720 0653530 0110100",
    "Y": "0010110 0352640 0266820 0149510 0146310 0254200 0111000",
    "Z": "0011100 1577730 1347720 0158310 05a6441 1787751 0111100",
    "a": "0000000 0146520 0587640 1857840 2a78961 0454650 0000000",
    "b": "0011100 0133210 0155200 0178720 0295640 03a7820 0133100",
    "d": "0000110 0001450 0012640 0157920 0566820 1677720 0133200",
    "e": "0000100 0148840 06a8850 1aa8520 1974331 0489740 0001000",
    "f": "0002310 0037750 0155220 0388420 0387310 0254100 0111000",
    "g": "0012310 0168840 0376830 0356830 0245630 0256520 0122100",
    "h": "0011100 0133200 0145200 0178620 02a6730 0372730 0110210",
    "n": "0000000 0345530 0698871 07a4491 1961591 1521450 0000000",
    "q": "0013200 0278830 0476820 0469720 0147620 0136520 0012100",
    "r": "0000000 0356740 06a9760 07b4220 0882000 0651000 0000000",
    "t": "0001100 0025410 0259620 0379520 0156210 0155210 0011100",
}

MISTAKES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "stored upright; NIST's are stored transposed": lambda means: means.swapaxes(1, 2),
    "black on white; NIST's are white on black": lambda means: 255 - means,
    "mirrored": lambda means: means[:, :, ::-1],
    "upside down": lambda means: means[:, ::-1],
    "rotated by 180 degrees": lambda means: means[:, ::-1, ::-1],
    "rotated to the left": lambda means: np.rot90(means, -1, (1, 2)),
    "rotated to the right": lambda means: np.rot90(means, 1, (1, 2)),
}


def describe_mismatch(
    images: np.ndarray, labels: np.ndarray, forms: Sequence[str] = CLASSES
) -> str | None:
    """Compare class means with EMNIST's.

    Args:
        images: (n, 28, 28) uint8, upright.
        labels: (n,) uint8.
        forms: for each label, the keys of `CLASS_MEANS` that are written for it: "Aa" if a class
            has both cases. Labels with equal forms are pooled.

    Returns:
        How the means differ and which known mistake would explain it; None if they match.
    """
    kinds = {form: [k for k, each in enumerate(forms) if each == form] for form in forms}
    found = np.bincount(labels, minlength=len(forms))
    if missing := [form for form, of in kinds.items() if not found[of].any()]:
        return f"no characters of class {missing[0]}"
    means = np.stack([_mean(images[np.isin(labels, of)]) for of in kinds.values()])
    difference = _distance(means, kinds)
    worst = [*kinds][int(difference.argmax())]
    if difference.mean() < MAX_MEAN and difference.max() < MAX_ANY:
        return None
    undone = {name: _distance(undo(means), kinds).mean() for name, undo in MISTAKES.items()}
    guesses = [name for name, distance in undone.items() if distance < MAX_MEAN]
    looks = f"they look {guesses[0]}" if guesses else "other images, or labels in another order"
    return (
        f"class means differ from EMNIST's by {difference.mean():.0f} grey levels, expected at "
        f"most {MAX_MEAN:.0f}, and by {difference.max():.0f} in class {worst} ({looks})"
    )


def _mean(images: np.ndarray) -> np.ndarray:
    """(7, 7) float, the mean of each block."""
    blocks = SIDE // BLOCK
    return np.asarray(images.reshape(-1, blocks, BLOCK, blocks, BLOCK).mean(axis=(0, 2, 4)))


def _distance(means: np.ndarray, forms: Iterable[str]) -> np.ndarray:
    """(k,) mean absolute difference of (k, 7, 7) class means from those of the forms."""
    expected = [np.mean([_digits(CLASS_MEANS[c]) for c in form], axis=0) for form in forms]
    return np.asarray(np.abs(means - STEP * np.array(expected)).mean(axis=(1, 2)))


def _digits(rows: str) -> list[list[int]]:
    return [[int(digit, 16) for digit in row] for row in rows.split()]
