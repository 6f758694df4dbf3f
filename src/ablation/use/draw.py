"""`ablation draw`: a local web page on which characters are drawn and recognised.

It sends each drawing as a PNG, which is processed as by `ablation predict`.
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

from ablation.base.errors import UserError, describe_os_error
from ablation.data.characters import CLASSES, MERGED
from ablation.data.datasets import OF_WHOLE_PICTURES
from ablation.fitted.model import Fitted
from ablation.use.prediction import predict_pictures

HOST = "127.0.0.1"
# Host names by which a local browser reaches this server, with any forwarded port. Other names
# may belong to a foreign page that resolves to this machine (DNS rebinding).
NAMES = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
TIMEOUT_SECONDS = 10  # for receiving a drawing
MOST_BYTES = 500_000  # of a drawing; the page's own takes a few thousand
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
ERRORS = {
    HTTPStatus.FORBIDDEN: "requests are only accepted from this program's page",
    HTTPStatus.NOT_FOUND: "only / and /answer exist",
    HTTPStatus.LENGTH_REQUIRED: "a Content-Length is required",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"a drawing may have at most {MOST_BYTES:,} bytes",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: f"expected a PNG of at most {MOST_PIXELS:,} pixels",
}


def serve(models: Mapping[str, Fitted], port: int) -> None:
    """Run the server until Ctrl-C.

    Args:
        models: name to fitted model.
        port: to listen on; 0 selects any free port.

    Raises:
        UserError: the port is not available.
    """
    with Server(models, port) as server:
        print(
            f"Draw at {server.address} in a browser on this machine. Press Ctrl-C to quit.",
            flush=True,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


class Server(ThreadingHTTPServer):
    """Serves the page, and predictions for the drawings it sends.

    Args:
        models: name to fitted model.
        port: to listen on; 0 selects any free port.

    Raises:
        UserError: the port is not available.
    """

    def __init__(self, models: Mapping[str, Fitted], port: int) -> None:
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            remedy = "choose another one; --port 0 selects any free port"
            raise UserError(f"{describe_os_error(error, f'port {port}')}; {remedy}") from None
        self.models = models
        self.page = page_for(models)
        self.one_at_a_time = threading.Lock()

    def server_bind(self) -> None:
        """Bind without the reverse DNS lookup of HTTPServer."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{HOST}:{self.server_port}/"

    def predict(self, drawing: bytes) -> dict[str, Any]:
        """The result for a drawing, as in `ablation predict --json`, with the network's input.

        `several` has the number of characters by model, if there are several.
        """
        try:
            with self.one_at_a_time:
                (prediction,) = predict_pictures([io.BytesIO(drawing)], self.models)
        except UserError as error:  # a model's output is not finite
            return {"error": str(error)}
        seen = np.hstack([*prediction.seen.values()]).tolist() if prediction.seen else None
        return prediction.to_dict() | {"seen": seen, "several": prediction.several}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections closed by the browser."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def page_for(models: Mapping[str, Fitted]) -> bytes:
    """The HTML page, with the names and classes of the models filled in.

    For models of whole pictures, drawings are light on dark if the training pictures were dark.
    """
    every = chain.from_iterable(fitted.metadata.classes for fitted in models.values())
    classes = list(dict.fromkeys(every))
    of_whole = [
        each.metadata for each in models.values() if each.metadata.conversion in OF_WHOLE_PICTURES
    ]
    about = {
        "models": list(models),
        "classes": classes,
        "merged": list(MERGED) if classes == list(CLASSES) else [],
        "whole": bool(of_whole),
        "dark": any(each.mean < 0.5 for each in of_whole),
    }
    # Class names come from a model's file, so they must not be able to close the script element.
    return PAGE.read_text().replace(ABOUT, json.dumps(about).replace("<", "\\u003c")).encode()


class Handler(BaseHTTPRequestHandler):
    """GET / returns the page; POST /answer takes a drawing and returns predictions."""

    server: Server
    server_version, sys_version = "ablation", ""
    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        if self._is_foreign():
            self._refuse(HTTPStatus.FORBIDDEN)
        elif self.path != "/":
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        if status := self._error():
            return self._refuse(status)
        drawing = self.rfile.read(int(self.headers["Content-Length"]))
        if not _is_small_png(drawing):
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        content = json.dumps(self.server.predict(drawing))
        self._send(HTTPStatus.OK, "application/json", content.encode())

    def _is_foreign(self) -> bool:
        """Whether the request comes from a foreign page, by its Host and Origin headers."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        # This program's page sends no origin, or the host and port it was loaded from.
        return not NAMES.fullmatch(host) or origin not in (None, f"http://{host}")

    def _error(self) -> HTTPStatus | None:
        """The error status of a request, from its headers; None if it is valid."""
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
        self._send(status, "text/plain; charset=utf-8", ERRORS[status].encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content))} | HEADERS
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log: the page sends a request after every stroke."""


def _is_small_png(drawing: bytes) -> bool:
    width, height = (int.from_bytes(drawing[at : at + 4]) for at in (16, 20))
    return drawing.startswith(PNG) and width * height <= MOST_PIXELS
