"""Folders of pictures: what is read, and messages about unusable files."""

import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablation.data.characters import Characters, DataError
from ablation.data.datasets import Size
from ablation.raw.folder import count_folder, load_folder


def pixels(number: int, side: int = 28) -> np.ndarray:
    """Pixels that are unique to a number."""
    return np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)


def draw(path: Path, number: int, side: int = 28) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, side)).save(path)
    return path


def draw_class(folder: Path, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        draw(folder / f"{number}.png", number)


def one_folder(raw: Path, fraction: float = 0.25, seed: int = 0) -> tuple[Characters, Characters]:
    return load_folder("folder", raw, "as-is", fraction, seed)


def two_folders(raw: Path, conversion: str = "as-is") -> tuple[Characters, Characters]:
    return load_folder("folder", raw, conversion, None, 0)


def complaint(raw: Path, fraction: float | None = None) -> list[str]:
    with pytest.raises(DataError) as error:
        load_folder("folder", raw, "as-is", fraction, 0)
    return str(error.value).replace(f"{raw}/", "").replace(f"{raw}:", "RAW:").splitlines()


def contents(characters: Characters) -> set[bytes]:
    return {image.tobytes() for image in characters.images}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two classes in two folders: 8 and 4 pictures for training, 2 and 1 for testing."""
    for part, counts in (("train", (8, 4)), ("test", (2, 1))):
        for name, count in zip(("leaf", "oak"), counts, strict=True):
            first = 1000 * (part == "test") + 100 * (name == "oak")
            draw_class(tmp_path / "raw" / part / name, count, first)
    return tmp_path / "raw"


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """One folder with unbalanced classes: 40, 8 and 2 pictures."""
    for place, (name, count) in enumerate({"many": 40, "some": 8, "two": 2}.items()):
        draw_class(tmp_path / "classes" / name, count, 100 * place)
    return tmp_path / "classes"


def test_two_folders_are_the_two_sets(raw: Path) -> None:
    train, test = two_folders(raw)
    assert train.classes == test.classes == ("leaf", "oak")
    assert (train.counts().tolist(), test.counts().tolist()) == ([8, 4], [2, 1])
    pictures = {np.asarray(Image.open(path)).tobytes() for path in raw.glob("train/*/*.png")}
    assert contents(train) == pictures


def test_every_image_has_the_label_of_its_folder(raw: Path) -> None:
    train, _ = two_folders(raw)
    oaks = {np.asarray(Image.open(path)).tobytes() for path in raw.glob("train/oak/*")}
    assert {image.tobytes() for image in train.images[train.labels == 1]} == oaks


def test_classes_are_shuffled(raw: Path) -> None:
    labels = two_folders(raw)[0].labels
    assert labels.tolist() != sorted(labels)


def test_pictures_are_converted_as_requested(raw: Path) -> None:
    for path in raw.rglob("*.png"):
        canvas = Image.new("L", (200, 200), 255)
        canvas.paste(20, (20, 90, 30, 110))
        canvas.save(path)
    as_it_is, converted = (two_folders(raw, way)[0].images[0] for way in ("as-is", "emnist"))
    assert as_it_is[0, 0] == 255
    assert converted[0, 0] == 0
    assert np.flatnonzero(converted.max(axis=1) > 128).size > 18


def test_other_formats_and_sizes_of_pictures_are_read(raw: Path) -> None:
    for suffix in (".jpg", ".bmp", ".gif", ".tiff", ".webp"):
        draw(raw / "train/oak" / f"more{suffix}", 5, side=64)
    assert two_folders(raw)[0].counts().tolist() == [8, 9]


def test_one_folder_is_split_class_by_class(classes: Path) -> None:
    train, test = one_folder(classes)
    assert (train.counts().tolist(), test.counts().tolist()) == ([30, 6, 1], [10, 2, 1])
    assert not contents(train) & contents(test)


def test_pictures_are_counted_without_being_read(raw: Path, classes: Path) -> None:
    assert count_folder(raw, None) == Size(12, 2, {"leaf": 8, "oak": 4})
    at_most = {"many": 39, "some": 7, "two": 1}
    assert count_folder(classes, 0.2) == Size(50 - 10, 3, at_most)
    assert count_folder(raw / "nowhere", 0.2) is None
    assert count_folder(raw / "train/oak", 0.2) is None


def test_the_split_depends_on_the_seed(classes: Path) -> None:
    first, again, other = (one_folder(classes, seed=seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first.images, again.images)
    assert contents(first) != contents(other)


def test_the_split_does_not_depend_on_file_names(classes: Path) -> None:
    before = one_folder(classes)
    for number, path in enumerate(sorted(classes.rglob("*.png"))):
        path.rename(path.with_name(f"renamed {1000 - number}.png"))
    for old, new in zip(before, one_folder(classes), strict=True):
        assert np.array_equal(old.images, new.images)


def test_added_pictures_move_few_of_the_others(classes: Path) -> None:
    before = contents(one_folder(classes)[1])
    draw_class(classes / "many", 4, first=500)
    after = one_folder(classes)
    assert len(before & contents(after[0])) <= 4


def test_copies_of_a_picture_are_in_the_same_set(classes: Path) -> None:
    for path in list(classes.glob("many/*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    train, test = one_folder(classes)
    assert not contents(train) & contents(test)
    assert (train.counts()[0], test.counts()[0]) == (60, 20)


def test_copies_in_two_classes_that_end_up_in_both_sets_are_counted(
    classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in list((classes / "many").glob("*.png")):
        shutil.copy(path, classes / "some" / f"copy of {path.name}")
    train, test = one_folder(classes)
    both = sum(image.tobytes() in contents(train) for image in test.images)
    assert both > 0
    assert (
        f"prepare: {both} of the {len(test)} test pictures are also in" in capsys.readouterr().out
    )


def test_pictures_in_both_folders_are_counted(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_folders(raw)
    assert "also in the training set" not in capsys.readouterr().out
    shutil.copy(raw / "train/leaf/3.png", raw / "test/leaf/x.png")
    two_folders(raw)
    said = "prepare: 1 of the 4 test pictures is also in the training"
    assert said in capsys.readouterr().out


def test_hidden_files_and_a_readme_are_ignored(classes: Path) -> None:
    (classes / "README.md").write_text("Mine.")
    (classes / ".DS_Store").touch()
    (classes / "many/.directory").touch()
    (classes / ".git").mkdir()
    assert one_folder(classes)[0].classes == ("many", "some", "two")


def test_decomposed_accents_are_composed(classes: Path) -> None:
    (classes / "two").rename(classes / unicodedata.normalize("NFD", "é"))
    assert one_folder(classes)[0].classes == ("many", "some", "é")


def test_a_thousand_classes(tmp_path: Path) -> None:
    for number in range(1000):
        for picture in range(2):
            draw(tmp_path / f"{number:03}" / f"{picture}.png", 2 * number + picture, side=2)
    train, test = one_folder(tmp_path)
    assert train.labels.dtype == np.uint16
    assert set(train.counts()) == set(test.counts()) == {1}
    train.save(tmp_path / "train.npz")
    again = Characters.load(tmp_path / "train.npz")
    assert np.array_equal(again.labels, train.labels)
    draw(tmp_path / "more/0.png", 9999)
    (said,) = complaint(tmp_path, 0.5)
    assert said.startswith("RAW: 1,001 folders, expected 2 to 1,000: one per class, named after")


def test_every_unreadable_file_is_named_at_once(raw: Path) -> None:
    (raw / "train/leaf/a.png").write_text("no picture")
    (raw / "train/oak/b.png").touch()
    (raw / "test/oak/c.txt").write_text("notes")
    whole = (raw / "test/leaf/1000.png").read_bytes()
    (raw / "test/leaf/1000.png").write_bytes(whole[:200])
    said = complaint(raw)
    assert said[:1] == ["train/leaf/a.png: not an image that can be read; save it as PNG or JPEG"]
    assert said[1].startswith("test/leaf/1000.png: not an image that can be read (image file is")
    assert [line.split(":")[0] for line in said[2:]] == ["train/oak/b.png", "test/oak/c.txt"]


def test_all_errors_in_the_folder_structure_are_reported(raw: Path) -> None:
    (raw / "train/leaf/more").mkdir()
    (raw / "train/empty").mkdir()
    (raw / "train/lost.PNG").touch()
    draw(raw / f"test/{'x' * 65}/0.png", 0)
    draw(raw / "test/elm/0.png", 0)
    assert complaint(raw) == [
        "train/empty: contains no pictures; add some, or delete the folder",
        "train/leaf/more: a folder inside a class folder; move it",
        "train/lost.PNG: a picture outside of a class folder; move it",
        f"test/{'x' * 65}: class names may have at most 64 characters, without "
        "control characters or characters that change the text direction; rename the folder",
        "train: no folder 'elm', but test has one; both need pictures of every class",
        f"train: no folder '{'x' * 65}', but test has one; both need pictures of every class",
        "test: no folder 'empty', but train has one; both need pictures of every class",
    ]


def test_misplaced_and_unreadable_files_are_reported_together(raw: Path) -> None:
    (raw / "train/leaf/more").mkdir()
    (raw / "test/leaf/notes.txt").write_text("not a picture")
    os.mkfifo(raw / "test/leaf/pipe.png")
    (raw / "test/leaf/link.png").symlink_to("nowhere.png")
    said = complaint(raw)
    assert said[:3] == [
        "train/leaf/more: a folder inside a class folder; move it",
        "test/leaf/link.png: a broken link; repair or delete it",
        "test/leaf/pipe.png: not a regular file; delete it",
    ]
    assert said[3].startswith("test/leaf/notes.txt: ") and len(said) == 4


def test_unused_entries_next_to_the_two_folders_are_named(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "valid").mkdir()
    two_folders(raw)
    assert "prepare: not used, next to train and test: valid\n" in capsys.readouterr().out


def test_control_characters_in_a_name_do_not_reach_the_terminal(raw: Path) -> None:
    (raw / "train/leaf/\x1b[2J\n.png").touch()
    assert complaint(raw)[0].startswith("train/leaf/?[2J?.png: not an image")


@pytest.mark.parametrize(
    ("folders", "fraction", "said"),
    [
        (
            [],
            None,
            "RAW: has no folder train and no folder test; put the pictures into train/CLASS and "
            "test/CLASS, or set data.raw in params.yaml to a folder of classes and add "
            "`test_fraction: 0.2` to split it",
        ),
        (
            ["train/a", "val/a"],
            None,
            "RAW: has no folder test (but val); put the pictures into train/CLASS and "
            "test/CLASS, or set data.raw in params.yaml to a folder of classes and add "
            "`test_fraction: 0.2` to split it",
        ),
        (
            ["train/a", "test/a"],
            0.2,
            "params.yaml: data.test_fraction: 0.2, but RAW has the folders train and test; remove "
            "test_fraction, or set data.raw to the folder of the classes",
        ),
        (
            ["a"],
            0.2,
            "RAW: 1 folder, expected 2 to 1,000: one per class, named after it and containing its "
            "pictures",
        ),
    ],
)
def test_an_invalid_folder_structure_is_an_error(
    folders: list[str], fraction: float | None, said: str, tmp_path: Path
) -> None:
    for folder in folders:
        draw(tmp_path / folder / "0.png", 0)
    assert [line.replace(str(tmp_path), "RAW") for line in complaint(tmp_path, fraction)] == [said]


def test_a_class_of_one_picture_cannot_be_split(classes: Path) -> None:
    (classes / "two/200.png").unlink()
    shutil.copy(classes / "two/201.png", classes / "two/the same.png")
    draw(classes / "one/0.png", 0)
    needs = "needs two different pictures, one for training and one for testing; add one"
    assert complaint(classes, 0.25) == [f"one: {needs}", f"two: {needs}"]


def test_empty_pictures_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("L", (9, 9), 200).save(tmp_path / name / f"{number}.png")
    said = complaint(tmp_path, 0.5)
    assert said == [
        "a/0.png and all other pictures are the same uniform grey, so there is nothing to learn"
    ]


def test_pictures_converted_in_parallel_keep_their_order(tmp_path: Path) -> None:
    """With more than two batches, two unreadable pictures are named in order."""
    for place, name in enumerate(("leaf", "oak")):
        draw_class(tmp_path / "raw" / name, 150, 1000 * place)
    train, test = one_folder(tmp_path / "raw")
    for label in (0, 1):
        found = [part.images[part.labels == label] for part in (train, test)]
        numbers = range(1000 * label, 1000 * label + 150)
        assert {image.tobytes() for image in np.concatenate(found)} == {
            pixels(number).tobytes() for number in numbers
        }
    for broken in ("leaf/7.png", "oak/149.png"):
        (tmp_path / "raw" / broken).write_bytes(b"no picture")
    assert [line.partition(":")[0] for line in complaint(tmp_path / "raw", 0.25)] == [
        "leaf/7.png",
        "oak/149.png",
    ]


def test_system_files_of_windows_and_macos_are_ignored(raw: Path) -> None:
    (raw / "train/leaf/Thumbs.db").touch()
    (raw / "train/oak/desktop.ini").touch()
    (raw / "train/__MACOSX/leaf").mkdir(parents=True)
    assert two_folders(raw)[0].counts().tolist() == [8, 4]


ANY_SCRIPT = {
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Bengali": "\u09b0\u200d\u09cd\u09af",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "Japanese": "\u6771\u4eac\u3000\u5927\u962a",
    "French": "100\u00a0m",
    "Hebrew, with a mark": "\u05d0\u200f!",
    "private use": "\ue001",
}


@pytest.mark.parametrize("name", ANY_SCRIPT.values(), ids=ANY_SCRIPT)
def test_class_names_may_be_in_any_script(name: str, classes: Path) -> None:
    (classes / "two").rename(classes / name)
    assert name in one_folder(classes)[0].classes
    assert count_folder(classes, 0.2) is not None


@pytest.mark.parametrize("sign", ["\x07", "\x1b", "\n", "\x85", "\u2028", "\u202e", "\u2066"])
def test_control_characters_in_class_names_are_refused_before_reading(
    sign: str, classes: Path
) -> None:
    (classes / "two").rename(classes / f"a{sign}b")
    with pytest.raises(DataError, match=r"/a\?b: class names may have at most 64 char"):
        count_folder(classes, 0.2)
    assert complaint(classes, 0.25)[0].startswith("a?b: class names may have")


def test_class_names_are_checked_in_both_folders(raw: Path) -> None:
    draw(raw / "test/o\u202eak/0.png", 0)
    with pytest.raises(DataError, match=r"test/o\?ak: class names may have"):
        count_folder(raw, None)


def test_backup_files_of_editors_are_ignored(raw: Path) -> None:
    for name in ("3.png~", "#3.png#", ".#3.png"):
        shutil.copy(raw / "train/leaf/4.png", raw / "train/leaf" / name)
    draw_class(raw / "train/~", 2, first=300)
    draw_class(raw / "test/~", 1, first=400)
    train, _ = two_folders(raw)
    assert dict(zip(train.classes, train.counts(), strict=True)) == {"leaf": 8, "oak": 4, "~": 2}


def test_a_git_lfs_pointer_names_the_command_that_fetches_the_picture(raw: Path) -> None:
    (raw / "train/leaf/3.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:")
    assert complaint(raw) == [
        "train/leaf/3.png: a Git LFS pointer instead of the file; run `git lfs pull` to fetch it"
    ]


def wide(path: Path, number: int, white: int, bits: type[np.unsignedinteger] = np.uint16) -> None:
    """A picture of more than 8 bits: noise up to `white`, and some white pixels."""
    values = np.random.default_rng(number).integers(0, white + 1, (28, 28)).astype(bits)
    values[number % 28, 3] = white
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def whites(characters: Characters) -> list[int]:
    """The largest value of each image of the first class."""
    return sorted(characters.images[characters.labels == 0].max(axis=(1, 2)).tolist())


@pytest.fixture
def wide_classes(tmp_path: Path) -> Path:
    """Two classes of 12-bit pictures stored in 16 bits; a third of the first class is dark."""
    for number in range(12):
        wide(tmp_path / f"raw/a/{number}.png", number, 260 if number % 3 == 0 else 4095)
        wide(tmp_path / f"raw/b/{number}.png", 50 + number, 4000)
    return tmp_path / "raw"


def test_all_pictures_of_more_than_8_bits_share_one_scale(
    wide_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = one_folder(wide_classes)
    assert train.levels == (0, 4095)
    dark = round(260 / 4095 * 255)
    assert sorted(whites(train) + whites(test)) == [dark] * 4 + [255] * 8
    assert len(np.unique(train.images)) == 256
    assert "shades" not in capsys.readouterr().out


def test_the_scale_is_that_of_the_training_pictures(raw: Path) -> None:
    for name in ("leaf", "oak"):
        wide(raw / "train" / name / "wide.png", 1, 2000)
        wide(raw / "test" / name / "wide.png", 2, 60_000)
    train, test = two_folders(raw)
    assert train.levels == test.levels == (0, 2000)
    assert max(whites(test)) == max(whites(train)) == 255


def test_8_bit_pictures_keep_their_scale_beside_deeper_ones(raw: Path) -> None:
    before = contents(two_folders(raw)[0])
    assert two_folders(raw)[0].levels is None
    wide(raw / "train/leaf/wide.png", 1, 700)
    assert before < contents(two_folders(raw)[0])


def test_the_scale_does_not_change_the_split(wide_classes: Path) -> None:
    before = [whites(part) for part in one_folder(wide_classes)]
    wide(wide_classes / "b/0.png", 50, 65_535)
    after = [whites(part) for part in one_folder(wide_classes)]
    assert [len(each) for each in before] == [len(each) for each in after] == [9, 3]
    assert max(after[0]) == 16


def test_a_warning_of_few_shades_names_the_brightest_picture(
    wide_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (20, 21, 22):  # one of them is for training
        wide(wide_classes / f"b/{number}.png", number, 65_535)
    one_folder(wide_classes)
    said = capsys.readouterr().out
    start = "prepare: low contrast: half of the training pictures span at most "
    white = f"white is the largest value of all pictures, 65535 in {wide_classes}/b"
    assert re.search(rf"{start}1\d of 256 shades of grey; {white}/2\d\.png; correct or", said)


def test_dark_pictures_give_a_warning_of_few_shades(
    classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in classes.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 16).save(path)
    one_folder(classes)
    assert (
        "pictures span at most 16 of 256 shades of grey; use pictures with"
        in capsys.readouterr().out
    )
