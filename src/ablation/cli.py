"""The command `ablation`: plan a run, compare studies, use the fitted models."""

import argparse
import io
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ablation.base.checked import one_of, read_yaml
from ablation.base.console import INTERRUPTED, console, plain_errors
from ablation.base.errors import UserError
from ablation.base.files import repository
from ablation.base.formatting import percent, shortened
from ablation.base.text import harmless
from ablation.trial.families import FAMILIES

if TYPE_CHECKING:  # these take seconds, and `--help` needs none
    from ablation.fitted.model import Fitted
    from ablation.use.answers import Answer

MODELS = Path("data/models")
BOTH = "both"
PORT = 8428  # of `draw`
NAME = 20  # letters of a class's name in the table; --json has all
STANDARD_INPUT = Path("-")
MOST_BYTES = 2**30  # of a picture from a pipe, which might not end
READER_GONE = 128 + 13  # SIGPIPE, as shells say it


def main() -> None:
    """Run a command; `ablation COMMAND --help` tells what each takes."""
    if sys.stdout is None:
        sys.exit("error: standard output is closed, and answers are written there; open it")
    if sys.stderr is None:  # else what is printed there would be among the answers
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        with plain_errors(), _standard_output():
            given = command_line().parse_args()
            complete = given.run(given)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0 if complete else 1)


@contextmanager
def _standard_output() -> Iterator[None]:
    """Writes what is left at the end; ends in silence where the reader has gone, as `cat` does.

    Raises:
        UserError: it cannot be written.
    """
    try:
        try:
            yield
        finally:
            _flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(READER_GONE)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        raise UserError(f"standard output: {error.strerror}; name another place") from None


def _discard_output() -> None:
    """What is left could not be written when Python ends, either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_line() -> argparse.ArgumentParser:
    """What may be typed after `ablation`."""
    parser = argparse.ArgumentParser(
        prog="ablation", description="Plan a run, compare studies, use the fitted models."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument(
        "--model",
        default=BOTH,
        metavar=f"{'|'.join(FAMILIES)}|{BOTH}|FILE",
        help="the fitted models of the study, or a model's file (default: %(default)s)",
    )

    command = commands.add_parser("plan", help="what would `dvc repro` run, train and take?")
    command.add_argument("--json", action="store_true", help="print a JSON object")
    command.set_defaults(run=lambda it: plan(it.json))

    command = commands.add_parser("predict", help="what is on a picture?", parents=[asked])
    command.add_argument(
        "images", nargs="+", type=Path, help="files, of one thing each; - reads one from a pipe"
    )
    command.add_argument("--json", action="store_true", help="print a JSON array")
    command.add_argument(
        "--show", type=Path, metavar="FILE", help="write a picture of what the network saw"
    )
    command.set_defaults(run=lambda it: predict(it.images, it.model, it.json, it.show))

    command = commands.add_parser("draw", help="a page to draw on", parents=[asked])
    command.add_argument(
        "--port",
        type=_port,
        default=PORT,
        help="where the page is on this machine; 0 takes any that is free (default: %(default)s)",
    )
    command.set_defaults(run=lambda it: draw(it.model, it.port))

    command = commands.add_parser("diff", help="what did a branch change, and is it real?")
    command.add_argument("revision", help="a branch, a tag or a commit to compare this study with")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print it for a pull request")
    form.add_argument("--json", action="store_true", help="print a JSON object")
    command.set_defaults(run=lambda it: diff(it.revision, it.markdown, it.json))
    return parser


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")


def plan(as_json: bool) -> bool:
    """Print what a run of the pipeline would do now.

    Raises:
        UserError: params.yaml or dvc.yaml is at fault.
    """
    from ablation.plan.plan import make_plan, show, show_json

    (show_json if as_json else show)(make_plan())
    return True


def predict(images: list[Path], model: str, as_json: bool, picture: Path | None) -> bool:
    """Print what the models answer; whether every image could be read.

    Raises:
        UserError: a model or the picture to write is at fault.
    """
    from ablation.use.sheet import check_name, save_contact_sheet

    if picture:
        check_name(picture)
    models = load_models(model)
    from ablation.use.answers import answer

    answers = answer(_opened(images), models)
    if as_json:
        print(json.dumps([each.to_dict() for each in answers], indent=2))
    else:
        _print(answers)
    if picture:
        save_contact_sheet(answers, picture)
    return all(each.error is None for each in answers)


def draw(model: str, port: int) -> bool:
    """Let people draw for the models, until Ctrl-C.

    Raises:
        UserError: a model is at fault, or the port cannot be had.
    """
    models = load_models(model)
    from ablation.use.draw import serve

    serve(models, port)
    return True


def diff(revision: str, as_markdown: bool, as_json: bool) -> bool:
    """Print how this study differs from one of its revisions.

    Raises:
        UserError: there is no study here, no such revision, or no study in it.
    """
    from ablation.diff import output

    difference = output.compare_with(revision)
    if as_markdown:
        print(output.as_markdown(difference))
    elif as_json:
        print(output.as_json(difference))
    else:
        for part in output.as_text(difference):
            console.print(part)
    return True


def load_models(name: str) -> dict[str, "Fitted"]:
    """Fitted models by their families.

    Args:
        name: a family, `both` for all that the study has fitted, or a model's file.

    Raises:
        ModelError: naming the file, what is wrong with it and what to do.
        UserError: there is no such file or folder of models, or it is of another conversion.
    """
    from ablation.fitted.model import Fitted
    from ablation.pictures.conversion import CONVERSIONS

    if name == BOTH:
        files = fitted_models()
    elif name in FAMILIES:
        files = [fitted_models()[0].with_name(f"{name}.safetensors")]
    elif Path(name).exists():
        files = [Path(name)]
    else:
        raise UserError(f"--model: {one_of(name, (*FAMILIES, BOTH))}; nor is it a file's name")
    models = {}
    for file in files:
        fitted = Fitted.load(file)
        way = fitted.about.conversion
        if way not in CONVERSIONS:
            raise UserError(f"{file}: its metadata: conversion: {one_of(way, CONVERSIONS)}")
        models[fitted.about.model] = fitted
    return models


def fitted_models() -> list[Path]:
    """The released models of the study: of the repository worked in, or of this code's own.

    Raises:
        UserError: there are none in either.
    """
    here = (repository() / "dvc.yaml").absolute().parent
    around = [folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()]
    for folder in (*around, Path(__file__).resolve().parents[2]):
        files = [folder / MODELS / f"{family}.safetensors" for family in _families(folder)]
        if there := [file for file in files if file.is_file()]:
            return there
    raise UserError(f"no models in {MODELS}; `dvc repro fit` makes them, or name one: --model FILE")


def _families(folder: Path) -> list[str]:
    """Those of a study; all where its params.yaml does not say."""
    try:
        studied = read_yaml(folder / "params.yaml")["models"]
    except (UserError, KeyError, TypeError):
        return [*FAMILIES]
    return [family for family in FAMILIES if family in studied]


def _opened(images: Iterable[Path]) -> Iterator[Path | BinaryIO]:
    """Files as they are; a pipe's content, which can be read once, and is asked for more often."""
    for path in images:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise UserError("-: standard input is closed; name a picture, or send one through")
            yield _named(sys.stdin.buffer, path)
        elif path.exists() and stat.S_ISFIFO(path.stat().st_mode):
            with path.open("rb") as pipe:
                yield _named(pipe, path)
        else:
            yield path


def _named(pipe: BinaryIO, path: Path) -> BinaryIO:
    content = io.BytesIO(pipe.read(MOST_BYTES))
    content.name = str(path)
    return content


def _print(answers: list["Answer"]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    table.add_column("image", overflow="fold")
    table.add_column("model")
    for place in ("first guess", "second", "third"):
        table.add_column(place, no_wrap=True)
    for each in answers:
        image = Text(harmless(each.image))  # a Text: brackets and colons are no markup
        for name, some in (each.guesses or {}).items():
            guesses = [
                Text(harmless(f"{shortened(one.character, NAME)}  {percent(one.probability)}"))
                for one in some
            ]
            table.add_row(image, name, *guesses)
            image = Text("")
    if table.row_count:
        console.print(table)
    for each in answers:
        for kind, what in (("warning", each.warning), ("error", each.error)):
            if what:
                print(f"{kind}: {harmless(f'{each.image}: {what}')}", file=sys.stderr)
