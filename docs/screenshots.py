"""Make the screenshots of README and docs/ from the study's files: `make screenshots`."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from browser import CHROMIUM, chromium
from playwright.sync_api import Browser, Page, ViewportSize

from ablation.base.console import plain_errors
from ablation.base.errors import UserError
from ablation.base.files import write_bytes
from ablation.use.draw import Server
from ablation.use.loading import load_models

ROOT = Path(__file__).parents[1]
PICTURES = Path("docs/pictures")
WINDOW: ViewportSize = {"width": 1280, "height": 960}
# An R in two strokes, in shares of the page's side.
STROKES = (
    ((0.33, 0.2), (0.32, 0.5), (0.3, 0.83)),
    ((0.24, 0.24), (0.45, 0.16), (0.62, 0.2), (0.64, 0.36), (0.52, 0.48), (0.36, 0.52),
     (0.5, 0.64), (0.72, 0.84)),
)  # fmt: skip


def report(browser: Browser, root: Path) -> bytes:
    """The beginning of the study's report.

    Raises:
        UserError: the stage `report` has not written it.
    """
    path = root / "plots/report.html"
    if not path.is_file():
        raise UserError(f"{path}: no such file; `dvc repro report` makes it")
    return _of_a_file(browser, path)


def plots(browser: Browser, root: Path) -> bytes:
    """The beginning of what `dvc plots show` writes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dvc", "plots", "show", "--quiet", "--out", folder]
        subprocess.run(command, cwd=root, check=True)
        return _of_a_file(browser, Path(folder) / "index.html")


def draw(browser: Browser, _root: Path) -> bytes:
    """The page to draw on, with a character, as the released models read it."""
    page = browser.new_page(viewport={"width": 960, "height": 760})
    with Server(load_models("both"), port=0) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            page.goto(server.address)
            box = page.locator("#page").bounding_box()
            assert box
            for stroke in STROKES:
                for number, (x, y) in enumerate(stroke):
                    place = box["x"] + x * box["width"], box["y"] + y * box["height"]
                    page.mouse.move(*place, steps=5)
                    if not number:
                        page.mouse.down()
                page.mouse.up()
            page.wait_for_selector("body:not([data-asking])")
            return _taken(page)
        finally:
            server.shutdown()


def _of_a_file(browser: Browser, path: Path) -> bytes:
    page = browser.new_page(viewport=WINDOW)
    page.goto(path.resolve().as_uri())
    page.wait_for_selector("body[data-drawn]")
    return _taken(page)


def _taken(page: Page) -> bytes:
    content = page.screenshot(animations="disabled")
    page.close()
    return content


SCREENSHOTS: dict[str, Callable[[Browser, Path], bytes]] = {
    "report": report,
    "plots": plots,
    "draw": draw,
}


def main() -> None:
    """Take every screenshot of the study in this repository."""
    with plain_errors():
        if CHROMIUM is None:
            raise UserError("no chromium on this machine; install it (apt-get install chromium)")
        with chromium() as browser:
            taken = {name: take(browser, ROOT) for name, take in SCREENSHOTS.items()}
        for name, content in taken.items():
            write_bytes(content, ROOT / PICTURES / f"{name}.png")
            print(f"{PICTURES / name}.png is new")


if __name__ == "__main__":
    main()
