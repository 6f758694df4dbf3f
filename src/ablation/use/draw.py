"""`ablation draw`: a page to draw on, for the browsers of this machine alone.

It sends what is drawn as a PNG, which goes the way that a picture of `ablation predict` goes.
"""

import io
import json
import re
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import numpy as np

from ablation.base.errors import UserError, refused
from ablation.data.characters import CLASSES, MERGED
from ablation.data.datasets import OF_WHOLE_PICTURES
from ablation.fitted.model import Fitted
from ablation.use.answers import answer

HOST = "127.0.0.1"
# What a browser on this machine calls this server, whichever port was forwarded to its own. Any
# other name may be a foreign page's that leads here.
NAMES = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
PATIENCE = 10  # seconds that a browser may take to send a drawing
MOST_BYTES = 500_000  # of a drawing; the page's own takes some thousands
MOST_PIXELS = 1_000_000  # the page's own has 160,000
PNG = b"\x89PNG\r\n\x1a\n"
PAGE = Path(__file__).with_name("draw.html")
ABOUT = "<!-- about -->"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
NO_ANSWER = {
    HTTPStatus.FORBIDDEN: "only pages of this program may ask",
    HTTPStatus.NOT_FOUND: "there is a page at / and an answer at /answer",
    HTTPStatus.LENGTH_REQUIRED: "a drawing comes with its Content-Length",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"a drawing has at most {MOST_BYTES:,} bytes",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: f"a drawing is a PNG of at most {MOST_PIXELS:,} pixels",
}


def serve(models: Mapping[str, Fitted], port: int) -> None:
    """Let people draw until Ctrl-C.

    Args:
        models: fitted models by their names.
        port: to listen on; 0 takes any that is free.

    Raises:
        UserError: the port cannot be had.
    """
    with Server(models, port) as server:
        print(f"Draw at {server.address} in a browser on this machine. Ctrl-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


class Server(ThreadingHTTPServer):
    """The page, and the answers to what is drawn on it.

    Args:
        models: fitted models by their names.
        port: to listen on; 0 takes any that is free.

    Raises:
        UserError: the port cannot be had.
    """

    def __init__(self, models: Mapping[str, Fitted], port: int) -> None:
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            remedy = "name another, --port 0 takes any that is free"
            raise UserError(f"{refused(error, f'port {port}')}; {remedy}") from None
        self.models = models
        self.page = page_for(models)
        self.one_at_a_time = threading.Lock()

    def server_bind(self) -> None:
        """As it is inherited, but the name of this machine is asked of nobody."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def answer(self, drawing: bytes) -> dict[str, Any]:
        """What the page shows of a drawing: as in `ablation predict --json`, and what was seen."""
        try:
            with self.one_at_a_time:
                (said,) = answer([io.BytesIO(drawing)], self.models)
        except UserError as error:  # a model whose weights make no numbers of an image
            return {"error": str(error)}
        seen = np.hstack([*said.seen.values()]).tolist() if said.seen else None
        return said.to_dict() | {"seen": seen}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def page_for(models: Mapping[str, Fitted]) -> bytes:
    """The page, which says whom it asks and which characters, or other classes, they know.

    Whole pictures are seen as they are drawn: light on dark, if those of the training were dark.
    """
    every = chain.from_iterable(fitted.about.classes for fitted in models.values())
    classes = list(dict.fromkeys(every))
    of_whole = [
        each.about for each in models.values() if each.about.conversion in OF_WHOLE_PICTURES
    ]
    about = {
        "models": list(models),
        "classes": classes,
        "merged": list(MERGED) if classes == list(CLASSES) else [],
        "whole": bool(of_whole),
        "dark": any(each.mean < 0.5 for each in of_whole),
    }
    # A name of a class is whatever a model's file says, and may not end the script.
    return PAGE.read_text().replace(ABOUT, json.dumps(about).replace("<", "\\u003c")).encode()


class Handler(BaseHTTPRequestHandler):
    """GET / is the page; POST /answer takes a drawing."""

    server: Server
    server_version, sys_version = "ablation", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        if self._is_foreign():
            self._refuse(HTTPStatus.FORBIDDEN)
        elif self.path != "/":
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        if fault := self._fault():
            return self._refuse(fault)
        drawing = self.rfile.read(int(self.headers["Content-Length"]))
        if not _is_small_png(drawing):
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        said = json.dumps(self.server.answer(drawing))
        self._send(HTTPStatus.OK, "application/json", said.encode())

    def _is_foreign(self) -> bool:
        """Whether a page of another server asks, or one that got here by a name of its own."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        # A page of this program says no origin, or the name and port by which it was reached.
        return not NAMES.fullmatch(host) or origin not in (None, f"http://{host}")

    def _fault(self) -> HTTPStatus | None:
        """What is wrong with a drawing before it is read."""
        length = self.headers.get("Content-Length", "")
        if self._is_foreign():
            return HTTPStatus.FORBIDDEN
        if self.path != "/answer":
            return HTTPStatus.NOT_FOUND
        if not (length.isascii() and length.isdigit()):
            return HTTPStatus.LENGTH_REQUIRED
        if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if self.headers.get_content_type() != "image/png":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        return None

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(status, "text/plain; charset=utf-8", NO_ANSWER[status].encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content))} | HEADERS
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Every stroke asks; nobody wants a line for each."""


def _is_small_png(drawing: bytes) -> bool:
    width, height = (int.from_bytes(drawing[at : at + 4]) for at in (16, 20))
    return drawing.startswith(PNG) and width * height <= MOST_PIXELS
