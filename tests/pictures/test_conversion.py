"""Conversions of pages and whole pictures to 28 x 28."""

import numpy as np
import pytest

from ablation.pictures.conversion import PAGE_SIDE, as_is, mnist


@pytest.mark.parametrize("shape", [(9, 9), (56, 56), (300, 40)])
def test_a_picture_of_any_size_is_resized_and_not_cropped(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.float32)
    picture[: shape[0] // 2] = 1
    image = as_is(picture)
    assert image.shape == (28, 28)
    assert (image[:10] > 245).all()
    assert (image[18:] < 10).all()


def test_mnists_conversion_scales_to_a_box_and_centres_the_mass() -> None:
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    page[10:90, 30:50] = 1  # a stem
    page[80:90, 30:70] = 1  # and a foot
    image = mnist(page)
    rows, columns = (np.flatnonzero(image.max(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (20, 10)
    weights = image / image.sum()
    assert abs((weights.sum(axis=1) * np.arange(28)).sum() - 13.5) <= 0.5
    assert abs((weights.sum(axis=0) * np.arange(28)).sum() - 13.5) <= 0.5
