import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ablation.trial.augmentation import make_augment
from ablation.trial.recipe import Affine, Augmentation, Elastic, NoAugmentation

NOTHING = {"rotation": 0.0, "shear": 0.0, "scale": 0.0, "shift": 0.0}
AFFINE = Affine(name="affine")
ELASTIC = Elastic(name="elastic")


def affine(**strengths: float) -> Affine:
    return Affine(name="affine", **(NOTHING | strengths))


def augmented(setting: Augmentation, images: Tensor, seed: int = 1) -> Tensor:
    return make_augment(setting, torch.Generator().manual_seed(seed), images.shape[-1])(images)


@pytest.fixture
def images() -> Tensor:
    """Sixty copies of a bright off-centre block on black."""
    image = torch.zeros(28, 28)
    image[8:18, 10:16] = 1.0
    return image.repeat(60, 1, 1, 1)


def centres(images: Tensor) -> Tensor:
    """(n, 2) centres of mass: row and column."""
    places = torch.arange(28.0)
    mass = images.sum((1, 2, 3))
    rows = (images.sum((1, 3)) * places).sum(1) / mass
    columns = (images.sum((1, 2)) * places).sum(1) / mass
    return torch.stack([rows, columns], 1)


def slants(images: Tensor) -> Tensor:
    """(n,) mean shift of the columns from one row to the next."""
    middle = centres(images)
    rows, columns = (torch.arange(28.0) - middle[:, axis, None] for axis in (0, 1))
    both = (images[:, 0] * rows[:, :, None] * columns[:, None, :]).sum((1, 2))
    return both / (images[:, 0] * rows[:, :, None] ** 2).sum((1, 2))


def test_no_augmentation_returns_the_images_themselves(images: Tensor) -> None:
    assert augmented(NoAugmentation(), images) is images


@pytest.mark.parametrize("setting", [affine(), Elastic(name="elastic", push=1e-6, **NOTHING)])
def test_strengths_of_zero_leave_images_unchanged(setting: Affine, images: Tensor) -> None:
    assert torch.allclose(augmented(setting, images), images, atol=1e-4)


@pytest.mark.parametrize("setting", [AFFINE, ELASTIC])
def test_each_image_of_a_batch_has_its_own_draws(setting: Affine, images: Tensor) -> None:
    drawn = augmented(setting, images)
    assert len(drawn.flatten(1).unique(dim=0)) == len(images)


@pytest.mark.parametrize("setting", [AFFINE, ELASTIC])
def test_draws_follow_the_seed_and_differ_between_batches(setting: Affine, images: Tensor) -> None:
    generators = (torch.Generator().manual_seed(3) for _ in range(2))
    first, again = (make_augment(setting, each, 28) for each in generators)
    one = first(images)
    assert torch.equal(one, again(images))
    assert not torch.equal(one, first(images))
    assert not torch.equal(one, augmented(setting, images, seed=4))


def test_the_default_generator_is_untouched(images: Tensor) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    augmented(ELASTIC, images)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_shift_is_at_most_its_setting_in_each_direction(images: Tensor) -> None:
    moved = centres(augmented(affine(shift=3.0), images)) - centres(images)
    assert moved.abs().max() <= 3.01
    assert moved.max() > 2.5
    assert moved.min() < -2.5


def test_a_scale_is_at_most_a_fraction_of_the_size(images: Tensor) -> None:
    sizes = augmented(affine(scale=0.2), images).sum((1, 2, 3)) / images.sum((1, 2, 3))
    assert 1.2 < sizes.max() <= 1.2**2 * 1.02
    assert 0.8**2 * 0.98 <= sizes.min() < 0.8


def test_a_shear_slants_columns_and_keeps_rows(images: Tensor) -> None:
    sheared = augmented(affine(shear=20.0), images)
    assert slants(sheared).abs().max() <= torch.tensor(20.0).deg2rad().tan() * 1.02
    assert slants(sheared).abs().max() > 0.3
    assert torch.allclose(sheared.sum(3), images.sum(3), atol=0.1)


def test_a_rotation_is_at_most_its_setting(images: Tensor) -> None:
    """The slant of a thin vertical bar is the tangent of the angle."""
    bar = torch.zeros(60, 1, 28, 28)
    bar[:, :, 4:24, 13:15] = 1.0
    angles = slants(augmented(affine(rotation=15.0), bar)).atan().rad2deg()
    assert 13 < angles.max() <= 15.2
    assert -15.2 <= angles.min() < -13


def test_edge_pixels_are_replicated(images: Tensor) -> None:
    """Padding with zeros would be wrong: in normalised images, black is not 0."""
    background = torch.full((9, 1, 28, 28), -0.7)
    assert torch.allclose(augmented(ELASTIC, background), background)


def test_elastic_bends_lines_and_affine_does_not() -> None:
    bar = torch.zeros(60, 1, 28, 28)
    bar[:, :, 2:26, 13:15] = 1.0

    def bend(images: Tensor) -> float:
        """Median distance of the bars from the straight line through their ends."""
        columns = (images[:, 0, 5:23] * torch.arange(28.0)).sum(2) / images[:, 0, 5:23].sum(2)
        line = torch.linspace(0, 1, 18)
        straight = columns[:, :1] + line * (columns[:, -1:] - columns[:, :1])
        return float((columns - straight).abs().max(1).values.median())

    assert bend(augmented(AFFINE, bar)) < 0.1
    assert bend(augmented(ELASTIC, bar)) > 0.3


def test_images_keep_their_shape(images: Tensor) -> None:
    assert augmented(ELASTIC, images).shape == images.shape


def test_push_is_the_standard_deviation_in_pixels() -> None:
    """In a horizontal gradient, a change of brightness is a displacement."""
    gradient = torch.arange(28.0).expand(4000, 1, 28, 28).contiguous()
    drawn = augmented(Elastic(name="elastic", push=0.5, **NOTHING), gradient)
    knots = F.interpolate(drawn - gradient, (5, 5), mode="bilinear", align_corners=True)
    assert float(knots[:, 0, 1:4, 1:4].std()) == pytest.approx(0.5, rel=0.1)
