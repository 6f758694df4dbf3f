"""Figures match their data, use consistent colours, and have no overlapping labels."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ablation.show import charts, figures
from ablation.show.study import Study
from ablation.show.style import FAMILIES, RIGHT, WRONG

CLASSES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
MLP, CNN, RNN = FAMILIES[:3]
IMAGES = np.zeros((2, 28, 28), dtype=np.uint8)
CHAIN = pd.DataFrame(
    {
        "model": "mlp",
        "stage": ["baseline", "optimizer", "dropout"],
        "winner": ["baseline", "rmsprop lr=0.0003", "0.2"],
        "verdict": ["kept", "adopted", "kept"],
        "accuracy": [0.80, 0.82, 0.82],
        "gain": [np.nan, 0.02, np.nan],
        "low": [np.nan, 0.01, np.nan],
        "high": [np.nan, 0.03, np.nan],
    }
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def labels(axes: Axes, which: str) -> list[str]:
    return [label.get_text() for label in getattr(axes, f"get_{which}ticklabels")()]


def overlaps(found: list[Text], figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in found]
    return [
        f"{a.get_text()} {b.get_text()}"
        for i, (a, here) in enumerate(zip(found, boxes, strict=True))
        for b, there in zip(found[i + 1 :], boxes[i + 1 :], strict=True)
        if here.overlaps(there)
    ]


def predictions(classes: str) -> pd.DataFrame:
    actual = list(classes) * 4
    return pd.DataFrame({"actual": actual, "predicted": [classes[0], *actual[1:]]})


def test_a_correct_prediction_is_blue_and_a_wrong_one_red() -> None:
    shown = {
        model: {
            "images": IMAGES,
            "actual": np.array(["A", "7"]),
            "predicted": np.array([*guesses]),
            "confidence": np.array([0.987, 0.5]),
        }
        for model, guesses in (("mlp", "A1"), ("cnn", "H7"))
    }
    figure = figures.first_predictions(shown)
    colours = {
        (text.get_text(), text.get_color())
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_text()[:4] in ("MLP:", "CNN:")
    }
    assert colours == {
        ("MLP: A, 98.7 %", RIGHT),
        ("MLP: 1, 50.0 %", WRONG),
        ("CNN: H, 98.7 %", WRONG),
        ("CNN: 7, 50.0 %", RIGHT),
    }


def test_a_family_has_one_colour_which_is_not_that_of_correct_or_wrong(study: Study) -> None:
    curves = study.tables("test/reliability.csv")
    figure = figures.reliability(curves, dict.fromkeys(study.models, 0.03))
    assert [line.get_color() for line in figure.axes[0].lines[1:]] == [MLP, CNN, RNN]
    chain = figures.accuracy_chain(study.table("plots/comparison/chain.csv"))
    assert [axes.lines[0].get_color() for axes in chain.axes] == [MLP, CNN, RNN]
    assert not set(FAMILIES) & {RIGHT, WRONG}


def test_class_distribution_draws_every_count() -> None:
    counts = pd.DataFrame({"character": ["0", "A"], "train": [30, 20], "test": [3, 2]})
    axes = figures.class_distribution(counts).axes[0]
    assert labels(axes, "x") == ["0", "A"]
    bars = [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert [height for height in bars if height > 0] == [30, 20, 3, 2]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train (50)", "test (5)"]


def test_every_class_has_a_row_of_samples_which_may_be_shorter() -> None:
    images = np.full((5, 28, 28), 9, dtype=np.uint8)
    figure = figures.class_samples(images, np.array([0, 0, 1, 2, 2]), ["0", "A", "q"])
    assert [labels(axes, "y") for axes in figure.axes] == [["0"], ["A"], ["q"]]
    widths = [(np.asarray(axes.images[0].get_array()) > 0).sum() for axes in figure.axes]
    assert widths == [2 * 784, 784, 2 * 784]


def test_a_mistake_shows_true_class_prediction_and_confidence() -> None:
    columns = {"actual": ["0", "q"], "predicted": ["O", "9"], "confidence": [0.9999, 0.95]}
    shown = {"images": IMAGES} | {name: np.array(column) for name, column in columns.items()}
    figure = figures.worst_mistakes("mlp", shown)
    assert {"true: 0", "predicted: O\n99.99 %", "predicted: 9\n95.00 %"} <= set(texts(figure))
    assert len([axes for axes in figure.axes if axes.images]) == 2


def test_a_model_without_mistakes_has_a_title_and_no_images() -> None:
    nothing = {name: np.empty(0) for name in ("actual", "predicted", "confidence")}
    figure = figures.worst_mistakes("mlp", {"images": IMAGES[:0]} | nothing)
    assert "MLP: no mistakes" in texts(figure)


def test_training_curves_end_with_their_accuracies() -> None:
    columns = {"epoch": [1, 2], "train_accuracy": [0.5, 0.8], "validation_accuracy": [0.4, 0.7]}
    figure = figures.training_curves(dict.fromkeys(["mlp", "cnn"], pd.DataFrame(columns)))
    for axes in figure.axes:
        assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [
            [0.5, 0.8],
            [0.4, 0.7],
        ]
        assert [line.get_label() for line in axes.lines] == [
            "training, 80.00 %", "validation, 70.00 %"
        ]  # fmt: skip
        assert axes.get_xlabel() == "epoch"
    assert figure.axes[0].yaxis.get_major_formatter()(0.825) == "82.5 %"


def test_every_row_of_a_confusion_matrix_adds_up_to_one() -> None:
    figure = figures.confusion_matrix("mlp", MLP, predictions("0AB"), list("0AB"))
    mesh = figure.axes[0].collections[0]
    assert isinstance(mesh, QuadMesh)
    roots = np.asarray(mesh.get_array()).reshape(3, 3)
    assert np.allclose((roots**2).sum(axis=1), 1)


def test_a_class_that_is_never_predicted_has_a_column() -> None:
    wrong = pd.DataFrame({"actual": ["0", "A"], "predicted": ["0", "0"]})
    axes = figures.confusion_matrix("cnn", CNN, wrong, ["0", "A"]).axes[0]
    assert labels(axes, "x") == labels(axes, "y") == ["0", "A"]
    assert "50.00 %" in axes.get_title()


def test_the_ten_worst_pairs_are_outlined_and_listed() -> None:
    wrong = pd.DataFrame({"actual": [*"ABBCDEFGHIJKL"], "predicted": [*"0" * 12, "L"]})
    figure = figures.confusion_matrix("mlp", MLP, wrong, list("0ABCDEFGHIJKL"))
    frames = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    [listed] = [text for text in texts(figure) if text.startswith("Worst pairs")]
    assert len(frames) == len(listed.splitlines()) - 1 == 10
    assert listed.splitlines()[1] == "B taken for 0: 2"
    assert frames[0].get_xy() == (0, 2)


def test_class_labels_do_not_overlap() -> None:
    figure = figures.confusion_matrix("mlp", MLP, predictions(CLASSES), list(CLASSES))
    axes = figure.axes[0]
    assert labels(axes, "x") == list(CLASSES)
    assert overlaps(axes.get_xticklabels() + axes.get_yticklabels(), figure) == []


def test_the_chain_has_the_gain_of_each_adopted_setting() -> None:
    axes = figures.accuracy_chain(CHAIN).axes[0]
    assert [text.get_text() for text in axes.texts] == ["+2.00"]
    assert labels(axes, "y") == ["baseline", "optimizer", "dropout"]


def test_a_gain_interval_is_relative_to_the_incumbents_accuracy() -> None:
    axes = figures.accuracy_chain(CHAIN).axes[0]
    [bars] = axes.collections
    assert isinstance(bars, LineCollection)
    assert np.allclose(bars.get_segments()[1], [[0.81, 1], [0.83, 1]])


def test_a_stage_that_kept_its_incumbent_is_hollow() -> None:
    axes = figures.accuracy_chain(CHAIN).axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [to_hex(point.get_markerfacecolor()) for point in points] == [MLP, MLP, "#ffffff"]


def worth_row(gain: float, said: str, role: str = "candidate") -> dict[str, object]:
    return {
        "name": "optimizer", "gain": gain, "low": gain - 0.01, "high": gain + 0.01, "said": said,
        "detail": "adam → sgd", "role": role,
    }  # fmt: skip


def test_each_family_has_a_line_in_the_row_of_a_technique() -> None:
    rows = {
        "mlp": pd.DataFrame([worth_row(-0.02, "-2.00")]),
        "cnn": pd.DataFrame([worth_row(np.nan, "unchanged", "unchanged")]),
    }
    axes = figures.worth(rows, "Gains").axes[0]
    assert labels(axes, "y") == ["optimizer"]
    marks = {line.get_label(): line for line in axes.lines if line.get_marker() == "o"}
    assert marks["MLP"].get_color() == MLP
    assert np.asarray(marks["MLP"].get_xdata()).tolist() == [-0.02]
    assert np.isnan(np.asarray(marks["CNN"].get_xdata(), dtype=float)).all()
    assert [text.get_text() for text in axes.texts] == [
        "MLP  -2.00  adam → sgd", "CNN  unchanged  adam → sgd"
    ]  # fmt: skip


def test_the_labels_of_gains_do_not_overlap(study: Study) -> None:
    rows = charts.worth_rows(study.tables("leave_one_out/gains.csv"))
    figure = figures.worth(rows, "Gains")
    assert overlaps([*figure.axes[0].texts, *figure.axes[0].get_yticklabels()], figure) == []


def test_recall_is_drawn_for_every_family_with_the_hardest_class_first() -> None:
    classes = pd.DataFrame({"class": ["A", "1"], "mlp": [0.9, 0.5], "cnn": [0.8, 0.6], "rnn": 0.7})
    [axes] = figures.recalls(classes, ["mlp", "cnn", "rnn"]).axes
    assert labels(axes, "x") == ["1", "A"]
    drawn = {line.get_color(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert drawn == {MLP: [0.5, 0.9], CNN: [0.6, 0.8], RNN: [0.7, 0.7]}


@pytest.mark.parametrize(("classes", "size"), [(8, 12), (47, 8.5), (62, 6.5)])
def test_class_labels_of_a_confusion_matrix_are_as_large_as_fits(classes: int, size: float) -> None:
    names = [chr(ord("A") + place) for place in range(classes)]
    figure = figures.confusion_matrix("mlp", MLP, predictions("".join(names)), names)
    labelled = figure.axes[0].get_xticklabels() + figure.axes[0].get_yticklabels()
    assert round(float(labelled[0].get_fontsize()) * 2) / 2 == size
    assert overlaps(labelled, figure) == []


def test_a_note_is_drawn_below_a_figure_unless_it_is_empty() -> None:
    real, drawn = (
        figures.add_note(figures.accuracy_chain(CHAIN), note) for note in ("", "Not handwriting.")
    )
    assert "Not handwriting." in texts(drawn)
    assert real.get_supxlabel() == ""
