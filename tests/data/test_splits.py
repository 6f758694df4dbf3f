import pickle

import numpy as np
import pytest

from ablation.data.splits import Repeat, SplitError, make_repeats, split, val_to_train

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(6, dtype=np.uint8), 40))
SEEDS_OF_1729 = (2248742872, 2756388605, 1963567772, 2625966904, 1676937989)
FOLDS_OF_1729 = 163833458


def seeds(repeat: Repeat) -> tuple[int, ...]:
    return (
        repeat.split_seed,
        repeat.init_seed,
        repeat.order_seed,
        repeat.dropout_seed,
        repeat.augmentation_seed,
    )


@pytest.mark.parametrize("scheme", ["shuffle", "kfold"])
def test_parts_are_sorted_disjoint_and_complete(scheme: str) -> None:
    for repeat in make_repeats(1, scheme, 0.15, 4):
        train, validation = split(LABELS, repeat)
        assert train.dtype == validation.dtype == np.int64
        assert np.array_equal(train, np.sort(train))
        assert np.array_equal(validation, np.sort(validation))
        assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(LABELS)))


@pytest.mark.parametrize(("scheme", "per_class"), [("shuffle", 6), ("kfold", 10)])
def test_every_class_has_the_same_share_of_the_validation_part(scheme: str, per_class: int) -> None:
    for repeat in make_repeats(1, scheme, 0.15, 4):
        validation = split(LABELS, repeat)[1]
        assert np.bincount(LABELS[validation]).tolist() == [per_class] * 6


def test_every_character_is_in_the_validation_part_of_exactly_one_fold() -> None:
    folds = [split(LABELS, repeat)[1] for repeat in make_repeats(1, "kfold", 0.15, 5)]
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(len(LABELS)))


def test_repeats_of_shuffle_have_different_splits() -> None:
    one, two = make_repeats(1, "shuffle", 0.15, 2)
    assert not np.array_equal(split(LABELS, one)[1], split(LABELS, two)[1])


def test_a_split_is_reproducible() -> None:
    repeat = make_repeats(1, "shuffle", 0.15, 1)[0]
    assert np.array_equal(split(LABELS, repeat)[1], split(LABELS, repeat)[1])


def test_a_repeat_does_not_depend_on_how_many_there_are() -> None:
    assert make_repeats(1, "shuffle", 0.15, 9)[:3] == make_repeats(1, "shuffle", 0.15, 3)


def test_kfold_ignores_the_fraction() -> None:
    assert make_repeats(1, "kfold", 0.15, 5) == make_repeats(1, "kfold", 0.4, 5)


@pytest.mark.parametrize(("scheme", "fraction", "folds"), [("shuffle", 0.15, 0), ("kfold", 0.2, 5)])
def test_a_repeat_defines_its_split(scheme: str, fraction: float, folds: int) -> None:
    repeats = make_repeats(1, scheme, 0.15, 5)
    assert [each.index for each in repeats] == [0, 1, 2, 3, 4]
    assert {(each.scheme, each.fraction, each.folds) for each in repeats} == {
        (scheme, fraction, folds)
    }


@pytest.mark.parametrize("scheme", ["shuffle", "kfold"])
def test_all_seeds_differ_except_the_split_seed_of_folds(scheme: str) -> None:
    repeats = [
        repeat
        for seed in (1, 2)
        for purpose in ("selection", "leave-one-out")
        for repeat in make_repeats(seed, scheme, 0.15, 10, purpose)
    ]
    all_seeds = [seed for repeat in repeats for seed in seeds(repeat)]
    shared = 4 * 9 if scheme == "kfold" else 0
    assert len(set(all_seeds)) == len(all_seeds) - shared


def test_each_purpose_has_its_own_splits() -> None:
    ours, fresh = (make_repeats(1, "kfold", 0.15, 5, purpose)[0] for purpose in ("a", "b"))
    assert not np.array_equal(split(LABELS, ours)[1], split(LABELS, fresh)[1])


def test_the_seeds_of_a_study_never_change() -> None:
    assert seeds(make_repeats(1729, "shuffle", 0.15, 1)[0]) == SEEDS_OF_1729
    assert seeds(make_repeats(1729, "kfold", 0.15, 2)[0]) == (FOLDS_OF_1729, *SEEDS_OF_1729[1:])


@pytest.mark.parametrize(("scheme", "ratio"), [("shuffle", 0.2 / 0.8), ("kfold", 0.25)])
def test_val_to_train_is_the_ratio_of_the_parts(scheme: str, ratio: float) -> None:
    repeat = make_repeats(1, scheme, 0.2, 5)[0]
    train, validation = split(LABELS, repeat)
    assert val_to_train(repeat) == pytest.approx(ratio)
    assert len(validation) / len(train) == pytest.approx(ratio)


def test_a_repeat_can_be_hashed_and_sent_to_a_worker() -> None:
    repeat = make_repeats(1, "shuffle", 0.15, 1)[0]
    assert {pickle.loads(pickle.dumps(repeat))} == {repeat}


@pytest.mark.parametrize(
    ("scheme", "fraction", "count", "error"),
    [
        ("shufle", 0.15, 5, "validation.scheme: 'shufle' is not one of shuffle, kfold"),
        ("shuffle", 1.0, 5, "validation.fraction: 1.0 is not between 0 and 1"),
        ("shuffle", 0.0, 5, "validation.fraction: 0.0 is not between 0 and 1"),
        ("shuffle", 0.15, 0, "validation.repeats: 0 is too few; shuffle needs at least 1"),
        ("kfold", 0.15, 1, "validation.repeats: 1 is too few; kfold needs at least 2"),
    ],
)
def test_an_error_names_the_key(scheme: str, fraction: float, count: int, error: str) -> None:
    with pytest.raises(ValueError) as refused:
        make_repeats(1, scheme, fraction, count)
    assert str(refused.value) == error


@pytest.mark.parametrize(
    ("scheme", "fraction", "count", "error"),
    [
        (
            "kfold",
            0.15,
            41,
            "params.yaml: validation.repeats: 41 folds, but the smallest class has 40 images; "
            "use at most 40 folds, or add images to that class",
        ),
        *(
            (
                "shuffle",
                fraction,
                1,
                f"params.yaml: validation.fraction: {fraction} leaves the smallest class, of 40 "
                "images, without an image in one part; use a fraction closer to 0.5, or add "
                "images to that class",
            )
            for fraction in (0.01, 0.99)
        ),
    ],
)
def test_too_small_classes_are_an_error(
    scheme: str, fraction: float, count: int, error: str
) -> None:
    with pytest.raises(SplitError) as refused:
        split(LABELS, make_repeats(1, scheme, fraction, count)[0])
    assert str(refused.value) == error


@pytest.mark.parametrize(("scheme", "count"), [("kfold", 5), ("shuffle", 1)])
def test_a_class_of_one_character_needs_more_of_them(scheme: str, count: int) -> None:
    labels = np.array([0] * 9 + [1], np.uint8)
    with pytest.raises(SplitError, match=r"\b1 image(, .*)?; add images to that class$"):
        split(labels, make_repeats(1, scheme, 0.25, count)[0])


def test_no_characters_at_all_are_an_error() -> None:
    with pytest.raises(SplitError, match="the smallest class has 0 images"):
        split(LABELS[:0], make_repeats(1, "kfold", 0.15, 5)[0])


@pytest.mark.parametrize(
    ("scheme", "fraction", "count"), [("kfold", 0.15, 4), ("shuffle", 0.25, 1)]
)
def test_one_character_of_a_class_in_the_smaller_part_is_enough(
    scheme: str, fraction: float, count: int
) -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), 4)
    validation = split(labels, make_repeats(1, scheme, fraction, count)[0])[1]
    assert labels[validation].tolist() == [0, 1, 2]
