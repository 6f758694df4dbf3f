"""The command `ablation`: plan a run, compare studies, use the fitted models."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablation.base.console import INTERRUPTED, console, plain_errors
from ablation.base.errors import UserError
from ablation.trial.families import FAMILIES
from ablation.use.loading import BOTH, SEARCH, load_models

PORT = 8428  # of `draw`
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
    from ablation.use.output import show_predictions
    from ablation.use.prediction import open_pictures, predict_pictures

    predictions = predict_pictures(open_pictures(images), models)
    if as_json:
        print(json.dumps([each.to_dict() for each in predictions], indent=2))
    else:
        show_predictions(predictions)
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
