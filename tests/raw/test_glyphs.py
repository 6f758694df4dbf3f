from pathlib import Path

import numpy as np
import pytest

from ablation.data.characters import CLASSES, MERGED, Characters
from ablation.pictures.conversion import emnist
from ablation.raw.glyphs import (
    FONTS,
    SEED,
    TEST_PER_CLASS,
    TRAIN_PER_CLASS,
    line_distances,
    load_glyphs,
    thin,
    write,
)


@pytest.fixture(scope="module")
def glyphs(prepared_glyphs: tuple[Path, str]) -> tuple[Characters, Characters]:
    folder = prepared_glyphs[0] / "data" / "prepared"
    return Characters.load(folder / "train.npz"), Characters.load(folder / "test.npz")


def test_every_class_has_as_many_characters(glyphs: tuple[Characters, Characters]) -> None:
    train, test = glyphs
    assert train.classes == test.classes == CLASSES
    assert train.counts().tolist() == [TRAIN_PER_CLASS] * 47
    assert test.counts().tolist() == [TEST_PER_CLASS] * 47


def test_all_images_are_different(glyphs: tuple[Characters, Characters]) -> None:
    images = np.concatenate([part.images for part in glyphs])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_images_look_like_emnists(glyphs: tuple[Characters, Characters]) -> None:
    images = glyphs[0].images
    assert images.dtype == np.uint8
    assert images.shape[1:] == (28, 28)
    assert (images.max(axis=(1, 2)) == 255).all()
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
    assert border.max() == 0
    assert 0.1 < images.mean() / 255 < 0.25  # EMNIST Mini: 0.17


def test_the_sets_are_shuffled(glyphs: tuple[Characters, Characters]) -> None:
    assert all(len(set(part.labels[:6])) > 3 for part in glyphs)


def test_every_process_draws_the_same_bytes(glyphs: tuple[Characters, Characters]) -> None:
    """Only for the first class, which is generated first."""
    generator = np.random.default_rng(SEED)
    ours = {write(CLASSES[0], generator).tobytes() for _ in range(TRAIN_PER_CLASS + TEST_PER_CLASS)}
    assert ours == {image.tobytes() for part in glyphs for image in part.images[part.labels == 0]}


@pytest.mark.deep
def test_every_process_draws_all_classes_in_the_same_order(
    glyphs: tuple[Characters, Characters],
) -> None:
    for ours, theirs in zip(load_glyphs("glyphs", Path()), glyphs, strict=True):
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)


def test_the_same_seed_gives_the_same_character() -> None:
    one, two, other = (write("k", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_every_font_has_a_line_for_every_form() -> None:
    lines = line_distances() == 0
    assert lines.shape == (len(FONTS), len(CLASSES) + len(MERGED), 64, 64)
    assert lines.sum(axis=(2, 3)).min() > 20


def test_a_bar_is_thinned_to_a_line() -> None:
    bar = np.zeros((1, 20, 20), bool)
    bar[0, 3:17, 7:12] = True
    line = thin(bar)[0]
    assert (line.sum(axis=1) <= 1).all()
    assert 8 <= line.sum() <= 12
    assert (bar[0] | ~line).all()


def test_thinning_preserves_a_ring() -> None:
    rows, columns = np.ogrid[-20:20, -20:20]
    radius = np.hypot(rows, columns)
    ring = thin(((radius > 8) & (radius < 15))[None])[0]
    assert not ring[radius < 8].any()
    blocks = ring[1:, 1:] & ring[1:, :-1] & ring[:-1, 1:] & ring[:-1, :-1]
    assert blocks.sum() == 0
    assert abs(radius[ring] - 11.5).max() < 2  # centred, because both passes were applied
    angles = np.arctan2(*np.nonzero(ring)[::-1] - np.array([[20], [20]]))
    assert np.diff(np.sort(angles)).max() < 0.2


def test_conversion_centres_and_fills_the_frame() -> None:
    page = np.zeros((128, 128))
    page[10:90, 100:110] = 1
    image = emnist(page)
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 60) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (2, 25)
    assert abs((columns[0] + columns[-1]) / 2 - 13.5) <= 0.5
    assert len(columns) <= 5
