"""The README's screenshots: each shows its page, in colour, or names the missing file."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ablation.base.errors import UserError
from ablation.show.study import Study

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def screenshots(chromium: Any) -> Any:
    return pytest.importorskip("screenshots", reason="it needs playwright")


def colours(content: bytes) -> np.ndarray:
    """The distinct colours of a picture."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return np.unique(pixels.reshape(-1, 3), axis=0)


def test_the_report(screenshots: Any, chromium: Any, reported: Study) -> None:
    assert len(colours(screenshots.report(chromium, reported.root))) > 100


def test_the_plots(screenshots: Any, chromium: Any, repository: Path) -> None:
    assert len(colours(screenshots.plots(chromium, repository))) > 100


def test_the_page_to_draw_on_with_both_models_answers(screenshots: Any, chromium: Any) -> None:
    found = colours(screenshots.draw(chromium, Path()))
    for colour in ((0x6A, 0x51, 0xA3), (0xE0, 0x82, 0x14)):  # the bars of MLP and CNN
        assert (found == colour).all(axis=1).any()


def test_a_missing_report_is_reported(screenshots: Any, chromium: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"report\.html: no such file; `dvc repro report` makes it"):
        screenshots.report(chromium, tmp_path)
