from collections.abc import Callable

import numpy as np
import pytest

from ablation.data.characters import CLASSES
from ablation.raw.orientation import BLOCK, CLASS_MEANS, STEP, describe_mismatch

Change = Callable[[np.ndarray], np.ndarray]


def means_as_images() -> np.ndarray:
    """(47, 28, 28): the mean image of each class, from the table."""
    digits = [
        [[int(digit, 16) for digit in row] for row in CLASS_MEANS[c].split()] for c in CLASSES
    ]
    return np.kron(STEP * np.array(digits), np.ones((BLOCK, BLOCK), int)).astype(np.uint8)


def test_images_with_emnists_class_means_are_accepted() -> None:
    assert describe_mismatch(means_as_images(), np.arange(47)) is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda images: images.swapaxes(1, 2), "look stored upright; NIST's are stored transp"),
        (lambda images: 255 - images, "look black on white; NIST's are white on black"),
        (lambda images: images[:, :, ::-1], "look mirrored"),
        (lambda images: images[:, ::-1], "look upside down"),
        (lambda images: images[:, ::-1, ::-1], "look rotated by 180 degrees"),
        (lambda images: np.rot90(images, 1, (1, 2)), "look rotated to the left"),
        (lambda images: np.rot90(images, -1, (1, 2)), "look rotated to the right"),
        (lambda images: images * 0, "other images, or labels in another order"),
        (lambda images: np.roll(images, 1, 0), "other images, or labels in another order"),
        (lambda images: images * (np.arange(47) != 21)[:, None, None], "in class L "),
    ],
)
def test_a_mismatch_with_emnist_is_described(change: Change, error: str) -> None:
    assert error in str(describe_mismatch(change(means_as_images()), np.arange(47)))


def test_a_class_of_both_cases_is_compared_with_the_mean_of_both() -> None:
    images = means_as_images()
    both = images[[CLASSES.index("A"), CLASSES.index("a"), CLASSES.index("C")]]
    assert describe_mismatch(both, np.array([0, 0, 1]), ("Aa", "C")) is None
    assert "in class C" in str(describe_mismatch(both, np.array([0, 1, 0]), ("Aa", "C")))


def test_labels_of_the_same_form_are_pooled() -> None:
    images = means_as_images()[[CLASSES.index("C")] * 2]
    assert describe_mismatch(images, np.array([0, 1]), ("C", "C")) is None


def test_a_class_without_characters_is_named() -> None:
    labels = np.where(np.arange(47) == 46, 45, np.arange(47))
    assert describe_mismatch(means_as_images(), labels) == "no characters of class t"
