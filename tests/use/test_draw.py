"""`ablation draw`: the page in a browser, and a server that refuses foreign requests."""

import http.client
import io
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.fitted.model import Fitted
from ablation.use.draw import MOST_BYTES, Server, page_for
from ablation.use.loading import load_models
from ablation.use.prediction import predict_pictures
from tests.pictures.test_picture import png, seven

ROOT = Path(__file__).parents[2]
CLASSES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
# Each is a list of strokes, in fractions of the page's side.
STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "7": [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]],
    "A": [[(0.25, 0.85), (0.5, 0.15), (0.75, 0.85)], [(0.35, 0.6), (0.65, 0.6)]],
    "E": [
        [(0.7, 0.15), (0.3, 0.15), (0.3, 0.85), (0.7, 0.85)],
        [(0.3, 0.5), (0.6, 0.5)],
    ],
    "T": [[(0.2, 0.2), (0.8, 0.2)], [(0.5, 0.2), (0.5, 0.85)]],
    "H": [[(0.3, 0.15), (0.3, 0.85)], [(0.7, 0.15), (0.7, 0.85)], [(0.3, 0.5), (0.7, 0.5)]],
}


@pytest.fixture(scope="module")
def models() -> dict[str, Fitted]:
    return load_models("both")


@contextmanager
def serving(models: dict[str, Fitted]) -> Iterator[Server]:
    with Server(models, port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(models: dict[str, Fitted]) -> Iterator[Server]:
    with serving(models) as server:
        yield server


def of_pictures(fitted: Fitted, mean: float) -> Fitted:
    """A model as if it had been trained on whole pictures of this brightness."""
    classes = tuple(f"thing {number}" for number in range(len(CLASSES)))
    about = replace(fitted.metadata, classes=classes, conversion="as-is", mean=mean)
    return replace(fitted, metadata=about)


def drawing(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


Ask = Callable[..., tuple[int, bytes]]


@pytest.fixture
def ask(server: Server) -> Ask:
    """Send a request; returns the status and the content of the response."""

    def send(
        method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.putrequest(method, path, skip_host="Host" in headers)
        if body is not None:
            headers = {"Content_Type": "image/png", "Content_Length": str(len(body))} | headers
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        reply = connection.getresponse()
        return reply.status, reply.read()

    return send


# --- the server -----------------------------------------------------------------------------------


def test_a_drawing_gets_the_same_prediction_as_a_picture(
    ask: Ask, models: dict[str, Fitted]
) -> None:
    content = drawing(seven())
    status, said = ask("POST", "/answer", content)
    assert status == 200
    (expected,) = predict_pictures([io.BytesIO(content)], models)
    assert expected.seen is not None
    seen = expected.seen["emnist"].tolist()
    assert json.loads(said) == expected.to_dict() | {"seen": seen, "several": {}}


@pytest.mark.parametrize(("text", "count"), [("12", 2), ("Hi", 2), ("CAT", 3)])
def test_close_characters_are_reported_as_several(text: str, count: int, ask: Ask) -> None:
    page = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(page).text((40, 80), text, font=ImageFont.load_default(size=150))
    _, said = ask("POST", "/answer", drawing(page))
    expected = f"{count} characters instead of one, read as "
    assert json.loads(said)["warning"].startswith(expected)
    assert json.loads(said)["several"] == {"mlp": count, "cnn": count}


def test_an_empty_page_and_a_corrupt_drawing_are_reported(ask: Ask) -> None:
    empty, cut = drawing(Image.new("L", (90, 90), 255)), drawing(seven())[:200]
    for content, said in ((empty, "no writing found"), (cut, "not an image that can be read")):
        status, body = ask("POST", "/answer", content)
        assert status == 200
        assert json.loads(body)["error"].startswith(said)


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "example.org:{port}"},
        {"Host": ""},
        {"Host": "127.0.0.1:{port}.example.org"},
        {"Host": "localhost.example.org"},
        {"Host": "example.org@localhost:{port}"},
        {"Host": "127.0.0.11"},
        {"Origin": "http://example.org"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "null"},
        {"Host": "localhost:9000", "Origin": "http://localhost:3000"},
        {"Host": "localhost", "Origin": "http://127.0.0.1"},
    ],
)
def test_foreign_hosts_and_origins_are_refused(
    method: str, headers: dict[str, str], ask: Ask, server: Server
) -> None:
    named = {key: value.format(port=server.server_port) for key, value in headers.items()}
    path, body = ("/", None) if method == "GET" else ("/answer", drawing(seven()))
    assert ask(method, path, body, **named)[0] == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:{port}", "localhost:{port}"),
        *("127.0.0.1", "localhost"),  # on port 80, which browsers omit
        *("localhost:9000", "127.0.0.1:65535", "[::1]:9000", "LOCALHOST:80"),  # forwarded to it
    ],
)
def test_every_name_of_this_machine_is_accepted(host: str, ask: Ask, server: Server) -> None:
    own = host.format(port=server.server_port)
    assert ask("GET", "/", Host=own)[0] == HTTPStatus.OK
    status, _ = ask("POST", "/answer", drawing(seven()), Host=own, Origin=f"http://{own}")
    assert status == HTTPStatus.OK


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {"Content_Length": str(MOST_BYTES + 1)}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"", {"Content_Length": "9" * 5000}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"", {"Content_Length": "-1"}, HTTPStatus.LENGTH_REQUIRED),
        (None, {"Transfer_Encoding": "chunked"}, HTTPStatus.LENGTH_REQUIRED),
        (drawing(seven()), {"Content_Type": "text/plain"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        (b"GIF89a" + bytes(99), {}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        (png(60_000, 60_000), {}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        (b"", {}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ],
)
def test_anything_but_a_small_drawing_is_refused(
    body: bytes | None, headers: dict[str, str], status: int, ask: Ask
) -> None:
    assert ask("POST", "/answer", body, **headers)[0] == status


@pytest.mark.parametrize("path", ["/answer", "/../../etc/passwd", "/draw.html", "/?"])
def test_only_the_page_is_served(path: str, ask: Ask) -> None:
    assert ask("GET", path)[0] == HTTPStatus.NOT_FOUND


def test_models_of_whole_pictures_get_the_whole_drawing(
    models: dict[str, Fitted],
) -> None:
    """Next to the input of the other models."""
    content = drawing(seven())
    asked = {"mlp": of_pictures(models["mlp"], mean=0.9), "cnn": models["cnn"]}
    with Server(asked, port=0) as server:
        seen = np.array(server.predict(content)["seen"])
    assert seen.shape == (28, 2 * 28)
    assert (seen[0, 0], seen[0, -1]) == (240, 0)


@pytest.mark.parametrize(("mean", "dark"), [(0.2, True), (0.8, False)])
def test_merged_letters_are_only_mentioned_for_emnists_classes(
    mean: float, dark: bool, models: dict[str, Fitted]
) -> None:
    own = {"cnn": of_pictures(models["cnn"], mean)}
    (about,) = re.findall(rb'id="about">(.*?)</script>', page_for(own))
    said = json.loads(about)
    assert said["merged"] == []
    assert (said["whole"], said["dark"]) == (True, dark)


def test_markup_in_a_class_name_stays_text(models: dict[str, Fitted]) -> None:
    about = models["cnn"].metadata
    odd = replace(models["cnn"], metadata=replace(about, classes=("</script><b>", "1")))
    assert b"</script><b>" not in page_for({"cnn": odd})


def test_the_command_prints_the_address_and_ctrl_c_ends_it() -> None:
    command = [sys.executable, "-m", "ablation", "draw", "--port", "0"]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True) as run:
        assert run.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/", run.stdout.readline())
        assert address
        with urllib.request.urlopen(address[0]) as page:
            assert page.status == HTTPStatus.OK
        run.send_signal(signal.SIGINT)
        assert run.communicate()[1] == ""
    assert run.returncode == 0


# --- the page -------------------------------------------------------------------------------------


class Page:
    """The page in a browser, and its console messages."""

    def __init__(self, page: Any, address: str) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = page
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(address)
        self.box = page.locator("#page").bounding_box()

    def place(self, at: tuple[float, float]) -> tuple[float, float]:
        return (
            self.box["x"] + at[0] * self.box["width"],
            self.box["y"] + at[1] * self.box["height"],
        )

    def draw(self, strokes: list[list[tuple[float, float]]]) -> None:
        mouse = self.page.mouse
        for first, *others in strokes:
            mouse.move(*self.place(first))
            mouse.down()
            for place in others:
                mouse.move(*self.place(place), steps=8)
            mouse.up()
        self.settle()

    def touch(self, strokes: list[list[tuple[float, float]]]) -> None:
        """Draw strokes by touch."""
        session = self.page.context.new_cdp_session(self.page)

        def send(kind: str, at: tuple[float, float] | None) -> None:
            points = [dict(zip("xy", self.place(at), strict=True))] if at else []
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        for first, *others in strokes:
            send("touchStart", first)
            for place in others:
                send("touchMove", place)
            send("touchEnd", None)
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector("body:not([data-asking])")

    def guesses(self, model: str) -> list[str]:
        texts: list[str] = self.page.locator(f"[data-model={model}] b").all_text_contents()
        return texts

    def first(self) -> set[str]:
        """The first guess of each model."""
        return {self.guesses(model)[0] for model in ("mlp", "cnn")}

    @property
    def note(self) -> str:
        text: str = self.page.locator("#note").text_content()
        return text


@pytest.fixture
def page(chromium: Any, server: Server) -> Iterator[Page]:
    context = chromium.new_context(has_touch=True, viewport={"width": 1000, "height": 900})
    yield Page(context.new_page(), server.address)
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    "character",
    ["7", *(pytest.param(key, marks=pytest.mark.deep) for key in STROKES if key != "7")],
)
def test_mouse_strokes_are_recognised(character: str, page: Page) -> None:
    page.draw(STROKES[character])
    assert page.first() == {character}
    assert len(page.guesses("mlp")) == len(page.guesses("cnn")) == 3
    assert page.said == []


@pytest.mark.browser
def test_touch_strokes_are_recognised(page: Page) -> None:
    page.touch(STROKES["H"])
    assert page.first() == {"H"}


@pytest.mark.browser
def test_a_dark_system_has_a_dark_page(page: Page) -> None:
    page.page.emulate_media(color_scheme="dark")
    taken = Image.open(io.BytesIO(page.page.screenshot())).convert("L")
    assert np.median(np.asarray(taken)) < 40


@pytest.mark.browser
def test_predictions_are_updated_while_drawing(page: Page) -> None:
    page.draw(STROKES["H"][:1])
    before = page.guesses("cnn")
    page.draw(STROKES["H"][1:])
    assert page.first() == {"H"} != {before[0]}


@pytest.mark.browser
@pytest.mark.parametrize(
    "undo",
    ["Control+z", *(pytest.param(key, marks=pytest.mark.deep) for key in ("z", "Backspace"))],
)
def test_a_key_undoes_the_last_stroke(undo: str, page: Page) -> None:
    page.draw(STROKES["7"] + [[(0.1, 0.9), (0.9, 0.9)]])
    page.page.keyboard.press(undo)
    page.settle()
    assert page.first() == {"7"}


@pytest.mark.browser
@pytest.mark.parametrize("clear", ["Escape", pytest.param("Delete", marks=pytest.mark.deep)])
def test_a_key_clears_the_page(clear: str, page: Page) -> None:
    page.draw(STROKES["7"])
    page.page.keyboard.press(clear)
    page.settle()
    assert page.guesses("mlp") == page.guesses("cnn") == []
    page.draw(STROKES["T"])
    assert page.first() == {"T"}


@pytest.mark.browser
def test_buttons_undo_and_clear(page: Page) -> None:
    page.draw(STROKES["7"] + STROKES["A"])
    page.page.click("#undo")
    page.page.click("#undo")
    page.settle()
    assert page.first() == {"7"}
    page.page.click("#clear")
    page.settle()
    assert page.guesses("cnn") == []


@pytest.mark.browser
def test_the_page_lists_the_characters(page: Page) -> None:
    texts = page.page.locator("#count, #classes, #merged").all_text_contents()
    assert texts[0] == "47 characters are known to the models"
    assert texts[1].replace(" ", "") == CLASSES
    assert "c i j k l m o p s u v w x y z are recognised as capitals" in texts[2]


@pytest.mark.browser
def test_drawings_are_light_on_dark_for_models_of_dark_pictures(
    chromium: Any, models: dict[str, Fitted]
) -> None:
    """Classes that are words are not called characters."""
    with serving({"cnn": of_pictures(models["cnn"], mean=0.2)}) as server:
        page = Page(chromium.new_page(), server.address)
        page.draw(STROKES["T"])
        texts = page.page.locator("h1, #count, #classes, #merged").all_text_contents()
        assert texts[:2] == ["Draw a picture", "47 classes are known to the models"]
        assert texts[2].startswith("thing 0, thing 1, ")
        assert texts[3] == ""
        assert page.guesses("cnn")[0].startswith("thing ")
        script = "() => [...document.querySelector('#seen').getContext('2d')"
        red = page.page.evaluate(
            f"{script}.getImageData(0, 0, 28, 28).data].filter((_, n) => n % 4 == 0)"
        )
        seen = np.array(red).reshape(28, 28)
        assert (seen[0, 0], seen[20, 14]) == (0, 255)
        assert page.said == []
        page.page.close()


@pytest.mark.browser
def test_a_dot_and_two_characters_are_reported_without_guesses(page: Page) -> None:
    page.draw([[(0.5, 0.5), (0.5, 0.5)]])
    assert page.note.startswith("no writing found")
    page.page.keyboard.press("Escape")
    small = [
        [[(left + 0.4 * x, 0.3 + 0.4 * y) for x, y in stroke] for stroke in STROKES[character]]
        for left, character in ((0.05, "7"), (0.55, "T"))
    ]
    page.draw(small[0] + small[1])
    assert page.note.startswith("2 characters instead of one, read as 7 T")
    assert page.guesses("mlp") == page.guesses("cnn") == []


@pytest.mark.browser
def test_the_page_only_contacts_its_own_server(page: Page, server: Server) -> None:
    page.draw(STROKES["T"])
    assert {url for url in page.asked if not url.startswith("data:")} == {
        server.address,
        f"{server.address}answer",
    }


@pytest.mark.browser
def test_the_page_reports_the_end_of_the_program(chromium: Any, models: dict[str, Fitted]) -> None:
    with Server(models, port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = Page(chromium.new_page(), server.address)
        server.shutdown()
        thread.join()
    page.draw(STROKES["T"])
    assert page.note == "No answer: the program has ended. Start `ablation draw` again."
    page.page.close()
