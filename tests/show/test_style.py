"""Every colour is defined in style.py, and what cannot import it uses no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "src/ablation/show/style.py"
COLOUR = re.compile(r"#[0-9a-f]{6}\b", re.IGNORECASE)
DRAWS = [
    *sorted((ROOT / ".dvc/plots").glob("*.*")),
    ROOT / "src/ablation/use/draw.html",
    *(path for path in sorted((ROOT / "src/ablation/show").glob("*.*")) if path != STYLE),
]


@pytest.mark.parametrize("path", DRAWS, ids=lambda path: path.name)
def test_a_file_has_no_colour_of_its_own(path: Path) -> None:
    drawn = path.read_text().split('<script id="vega">')[0]
    assert set(COLOUR.findall(drawn)) <= set(COLOUR.findall(STYLE.read_text()))


def test_python_takes_colours_from_the_style() -> None:
    ours = [path for path in DRAWS if path.suffix == ".py"]
    assert len(ours) >= 5
    assert [path.name for path in ours if COLOUR.search(path.read_text())] == []
