import pytest

from ablation.base.formatting import counted, markdown, percent, points, short, shortened


@pytest.mark.parametrize(("fraction", "text"), [(0.8712, "87.12 %"), (1, "100.00 %")])
def test_a_fraction_as_a_percentage(fraction: float, text: str) -> None:
    assert percent(fraction) == text


@pytest.mark.parametrize(("difference", "text"), [(0.0031, "+0.31"), (-0.5, "-50.00")])
def test_a_difference_in_percentage_points(difference: float, text: str) -> None:
    assert points(difference) == text


@pytest.mark.parametrize(
    ("count", "text"), [(9999, "9,999"), (10_000, "10 k"), (573_103, "573 k"), (1.2e6, "1.2 M")]
)
def test_a_count_to_three_digits(count: float, text: str) -> None:
    assert short(count) == text


def test_counts_have_a_singular_and_a_plural() -> None:
    assert [counted(n, "epoch") for n in (0, 1, 1234)] == ["0 epochs", "1 epoch", "1,234 epochs"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


@pytest.mark.parametrize(
    ("name", "longest", "text"), [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc…fg")]
)
def test_a_long_name_is_shortened_in_the_middle(name: str, longest: int, text: str) -> None:
    assert shortened(name, longest) == text


def test_a_table_in_markdown() -> None:
    rows = [["x", "0.10"], ["y", ""]]
    assert markdown(["a", "b"], rows) == "| a | b |\n| --- | --- |\n| x | 0.10 |\n| y |  |"


def test_a_bar_in_a_cell_is_escaped() -> None:
    assert markdown(["a"], [["x|y"]]).splitlines()[-1] == "| x&#124;y |"
