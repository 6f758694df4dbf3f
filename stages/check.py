"""Read params.yaml before any other stage does, so that a mistake in it stops the study here."""

from pathlib import Path

from ablation.base.console import console, plain_errors
from ablation.base.files import write_bytes
from ablation.params import load_params

CHECKED = Path("data/prepared/checked.txt")


def main() -> None:
    params = load_params()
    # The same words whatever the parameters are: the stages after this one depend on their own.
    write_bytes(b"params.yaml could be read when this was written.\n", CHECKED)
    console.print(f"params.yaml is sound: a study of {params.data.dataset}")


if __name__ == "__main__":
    with plain_errors():
        main()
