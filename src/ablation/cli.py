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
from ablation.base.text import printable
from ablation.trial.families import FAMILIES

if TYPE_CHECKING:  # slow imports, which `--help` does not need
    from ablation.fitted.model import Fitted
    from ablation.use.prediction import Prediction

MODELS = Path("data/models")
BOTH = "both"
SEARCH = "search"
PORT = 8428  # of `draw`
NAME_LENGTH = 20  # letters of a class name in the table; --json has complete names
STANDARD_INPUT = Path("-")
MOST_BYTES = 2**30  # maximum size of a picture from a pipe
READER_GONE = 128 + 13  # exit status for SIGPIPE, as in shells


def main() -> None:
    """Run a command; `ablation COMMAND --help` lists its arguments."""
    if sys.stdout is None:
        sys.exit("error: standard output is closed, but results are written there; open it")
    if sys.stderr is None:  # otherwise errors would be mixed with the results
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
    """Flush standard output at the end; exit silently if the pipe is closed, as `cat` does.

    Raises:
        UserError: standard output cannot be written.
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
        raise UserError(f"standard output: {error.strerror}; redirect it elsewhere") from None


def _discard_output() -> None:
    """Discard buffered output, which Python would fail to write at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_line() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="ablation", description="Plan a run, compare studies, use the fitted models."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    with_model = argparse.ArgumentParser(add_help=False)
    with_model.add_argument(
        "--model",
        default=BOTH,
        metavar=f"{'|'.join(FAMILIES)}|{BOTH}|{SEARCH}|FILE",
        help="a fitted model of the study, both, those of the search, or a model file "
        "(default: %(default)s)",
    )

    command = commands.add_parser(
        "plan", help="show what `dvc repro` would run, and how long it would take"
    )
    command.add_argument(
        "pipeline",
        nargs="?",
        default="dvc.yaml",
        help="the pipeline to run, such as search/dvc.yaml (default: %(default)s)",
    )
    command.add_argument("--json", action="store_true", help="print a JSON object")
    command.set_defaults(run=lambda it: plan(it.pipeline, it.json))

    command = commands.add_parser(
        "cost", help="show what the chain has spent, and what a search may spend"
    )
    command.set_defaults(run=lambda _: cost())

    command = commands.add_parser(
        "predict", help="recognise the characters in pictures", parents=[with_model]
    )
    command.add_argument(
        "images",
        nargs="+",
        type=Path,
        help="picture files with one character each; - reads standard input",
    )
    command.add_argument("--json", action="store_true", help="print a JSON array")
    command.add_argument(
        "--show", type=Path, metavar="FILE", help="write a contact sheet of the networks' input"
    )
    command.set_defaults(run=lambda it: predict(it.images, it.model, it.json, it.show))

    command = commands.add_parser(
        "draw", help="serve a page on which to draw characters", parents=[with_model]
    )
    command.add_argument(
        "--port",
        type=_port,
        default=PORT,
        help="port of the page; 0 selects any free port (default: %(default)s)",
    )
    command.set_defaults(run=lambda it: draw(it.model, it.port))

    command = commands.add_parser(
        "diff", help="show which results differ from another revision, beyond the noise"
    )
    command.add_argument("revision", help="branch, tag or commit to compare with")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    form.add_argument("--json", action="store_true", help="print a JSON object")
    command.set_defaults(run=lambda it: diff(it.revision, it.markdown, it.json))
    return parser


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")


def plan(pipeline: str, as_json: bool) -> bool:
    """Print what `dvc repro` of a pipeline would do.

    Raises:
        UserError: params.yaml or the pipeline is invalid.
    """
    from ablation.plan.plan import make_plan, show, show_json

    (show_json if as_json else show)(make_plan(pipeline))
    return True


def cost() -> bool:
    """Print what the stages of the chain have spent, and the budget of the search.

    Raises:
        UserError: a file of the study is missing.
    """
    from ablation.search.output import show_costs

    show_costs()
    return True


def predict(images: list[Path], model: str, as_json: bool, picture: Path | None) -> bool:
    """Print the predictions of the models; returns whether every picture was read.

    Raises:
        UserError: a model is invalid, or the contact sheet cannot be written.
    """
    from ablation.use.sheet import check_name, save_contact_sheet

    if picture:
        check_name(picture)
    models = load_models(model)
    from ablation.use.prediction import predict_pictures

    predictions = predict_pictures(_opened(images), models)
    if as_json:
        print(json.dumps([each.to_dict() for each in predictions], indent=2))
    else:
        _print(predictions)
    if picture:
        save_contact_sheet(predictions, picture)
    return all(each.error is None for each in predictions)


def draw(model: str, port: int) -> bool:
    """Serve the drawing page until Ctrl-C.

    Raises:
        UserError: a model is invalid, or the port is not available.
    """
    models = load_models(model)
    from ablation.use.draw import serve

    serve(models, port)
    return True


def diff(revision: str, as_markdown: bool, as_json: bool) -> bool:
    """Print the differences between this study and another revision.

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
    """Load fitted models, by family.

    Args:
        name: a family, `both` for all that the study has fitted, `search` for those of the search,
            or a model file.

    Raises:
        ModelError: names the file, what is wrong with it and what to do.
        UserError: there is no such file or folder of models, or its conversion is unknown.
    """
    from ablation.fitted.model import Fitted
    from ablation.pictures.conversion import CONVERSIONS

    if name == BOTH:
        files = fitted_models()
    elif name == SEARCH:
        files = fitted_models(SEARCH)
    elif name in FAMILIES:
        files = [fitted_models()[0].with_name(f"{name}.safetensors")]
    elif Path(name).exists():
        files = [Path(name)]
    else:
        raise UserError(f"--model: {one_of(name, (*FAMILIES, BOTH, SEARCH))}; nor is it a file")
    models = {}
    for file in files:
        fitted = Fitted.load(file)
        conversion = fitted.metadata.conversion
        if conversion not in CONVERSIONS:
            raise UserError(f"{file}: its metadata: conversion: {one_of(conversion, CONVERSIONS)}")
        models[fitted.metadata.model] = fitted
    return models


def fitted_models(results: str = "") -> list[Path]:
    """The released models of the current repository's study, or of this code's repository.

    results: the folder that they were written to.

    Raises:
        UserError: neither has models.
    """
    where = Path(results, MODELS)
    pipeline = f" {results}/dvc.yaml" if results else " fit"
    here = (repository() / "dvc.yaml").absolute().parent
    around = [folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()]
    for folder in (*around, Path(__file__).resolve().parents[2]):
        files = [folder / where / f"{family}.safetensors" for family in _families(folder)]
        if there := [file for file in files if file.is_file()]:
            return there
    raise UserError(
        f"no models in {where}; create them with `dvc repro{pipeline}`, or give one: --model FILE"
    )


def _families(folder: Path) -> list[str]:
    """The families of a study; all of them if its params.yaml cannot be read."""
    try:
        studied = read_yaml(folder / "params.yaml")["models"]
    except (UserError, KeyError, TypeError):
        return [*FAMILIES]
    return [family for family in FAMILIES if family in studied]


def _opened(images: Iterable[Path]) -> Iterator[Path | BinaryIO]:
    """Paths, and the buffered content of pipes, which can be read only once."""
    for path in images:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise UserError("-: standard input is closed; name a picture, or pipe one in")
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


def _print(predictions: list["Prediction"]) -> None:
    from rich.table import Table
    from rich.text import Text

    for each in predictions:  # before the guesses that they are about
        for kind, what in (("warning", each.warning), ("error", each.error)):
            if what:
                print(f"{kind}: {printable(f'{each.image}: {what}')}", file=sys.stderr)
    table = Table(box=None)
    table.add_column("image", overflow="fold")
    table.add_column("model")
    for place in ("first guess", "second", "third"):
        table.add_column(place, no_wrap=True)
    for each in predictions:
        image = Text(printable(each.image))  # not interpreted as markup
        for name, some in (each.guesses or {}).items():
            guesses = [
                Text(
                    printable(
                        f"{shortened(one.character, NAME_LENGTH)}  {percent(one.probability)}"
                    )
                )
                for one in some
            ]
            if count := each.several.get(name):
                guesses = [Text(f"{count} characters")]
            table.add_row(image, name, *guesses)
            image = Text("")
    if table.row_count:
        console.print(table)
