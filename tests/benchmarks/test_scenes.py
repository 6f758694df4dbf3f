import numpy as np
from photographs import Scene
from PIL import Image
from scenes import Count, count, one_of_each_class_in_turn, pictures

from ablation.data.characters import CLASSES, Characters
from ablation.use.prediction import Guess, Prediction


def characters(*labels: int) -> Characters:
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 8:20, 12:15] = 255
    return Characters(images, np.array(labels, np.uint8), CLASSES)


def test_classes_alternate_until_they_are_exhausted() -> None:
    taken = one_of_each_class_in_turn(characters(0, 0, 0, 1, 2, 2), 5)
    assert taken.labels.tolist() == [0, 1, 2, 0, 2]


def test_a_wrong_answer_is_silent_only_without_a_warning() -> None:
    guesses = [{"cnn": [Guess(CLASSES[n], 0.9)]} for n in (3, 4, 4)]
    said = [
        Prediction("right", guesses=guesses[0]),
        Prediction("wrong", guesses=guesses[1]),
        Prediction("warned", warning="doubtful", guesses=guesses[2]),
        Prediction("empty", error="an empty page"),
    ]
    assert count(said, characters(3, 3, 3, 3), "cnn") == Count(0.25, 0.25, 0.5)


def test_a_scene_is_the_same_every_time() -> None:
    first, second = ([*pictures(Scene(), characters(1, 1))] for _ in range(2))
    assert [file.getvalue() for file in first] == [file.getvalue() for file in second]
    assert np.asarray(Image.open(first[0])).shape == (400, 520)
