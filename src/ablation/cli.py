"""`ablation predict`: the fitted models on a person's own image."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ablation.base.console import console, percent, plain_errors
from ablation.base.errors import UserError
from ablation.base.files import repository

if TYPE_CHECKING:  # these take seconds, and `--help` needs none
    from ablation.answers import Answer
    from ablation.fitted import Fitted

FAMILIES = ("mlp", "cnn")
MODELS = Path("data/models")


def main() -> None:
    """The command line; `ablation predict --help` tells what it takes."""
    parser = argparse.ArgumentParser(prog="ablation", description="A staged ablation on EMNIST.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("predict", help="which character is on an image?")
    command.add_argument("images", nargs="+", type=Path, help="one handwritten character each")
    command.add_argument(
        "--model",
        default="both",
        metavar="mlp|cnn|both|FILE",
        help="the fitted models of the study, or a model's file (default: %(default)s)",
    )
    command.add_argument("--json", action="store_true", help="print a JSON array")
    command.add_argument(
        "--show", type=Path, metavar="FILE", help="write a picture of what the network saw"
    )
    arguments = parser.parse_args()
    with plain_errors():
        complete = predict(arguments.images, arguments.model, arguments.json, arguments.show)
    sys.exit(0 if complete else 1)


def predict(paths: list[Path], model: str, as_json: bool, picture: Path | None) -> bool:
    """Print what the models answer; whether every image could be read.

    Raises:
        UserError: a model or the picture to write is at fault.
    """
    models = load_models(model)
    from ablation.answers import answer

    answers = answer(paths, models)
    if picture:
        from ablation.seen import save_seen

        save_seen(answers, picture)
    if as_json:
        print(json.dumps([each.to_dict() for each in answers], indent=2))
    else:
        _print(answers, list(models))
    return all(each.error is None for each in answers)


def load_models(name: str) -> dict[str, "Fitted"]:
    """Fitted models by their names.

    Args:
        name: `mlp`, `cnn`, `both`, or a model's file.

    Raises:
        ModelError: naming the file, what is wrong with it and what to do.
        UserError: there is no such file or folder of models.
    """
    known = FAMILIES if name == "both" else (name,)
    if not set(known) <= set(FAMILIES):
        path = Path(name)
        if path.is_dir():
            raise UserError(f"{path}: a folder, not a model; name a file in it")
        from ablation.fitted import Fitted

        fitted = Fitted.load(path)
        return {fitted.about.model: fitted}
    folder = models_folder()
    from ablation.fitted import Fitted

    return {family: Fitted.load(folder / f"{family}.safetensors") for family in known}


def models_folder() -> Path:
    """Where the study's models are: in the repository worked in, or in this code's own.

    Raises:
        UserError: in neither.
    """
    here = (repository() / "dvc.yaml").absolute().parent
    around = [folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()]
    for folder in (*around, Path(__file__).resolve().parents[2]):
        if (folder / MODELS).is_dir():
            return folder / MODELS
    raise UserError(f"no folder {MODELS}; run this in the repository, or name a file: --model FILE")


def _print(answers: list["Answer"], names: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    table.add_column("image", overflow="fold")
    table.add_column("model")
    for place in ("first guess", "second", "third"):
        table.add_column(place, no_wrap=True)
    for each in answers:
        image = Text(_printable(each.image))  # a Text: brackets and colons are no markup
        for name in names if each.guesses else ():
            guesses = (each.guesses or {})[name]
            table.add_row(
                image,
                name,
                *(Text(f"{one.character}  {percent(one.probability)}") for one in guesses),
            )
            image = Text("")
    if table.row_count:
        console.print(table)
    for each in answers:
        for kind, what in (("warning", each.warning), ("error", each.error)):
            if what:
                print(f"{kind}: {_printable(each.image)}: {what}", file=sys.stderr)


def _printable(name: str) -> str:
    """A name in a form that any terminal takes."""
    return name.encode("utf-8", "replace").decode().replace("\n", " ")
