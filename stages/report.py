"""Stage `report`: every picture of the study, from the numbers that the other stages wrote."""

from pathlib import Path

from ablation.base.console import console, plain_errors
from ablation.params import load_params
from ablation.show.report import Study, summary, write_pictures


def main() -> None:
    """Draw what params.yaml's dataset led to, say where, and print both test results."""
    with plain_errors():
        study = Study(root=Path(), dataset=load_params().data.dataset)
        for picture in write_pictures(study):
            console.print(f"wrote {picture}")
        console.print(summary(study))


if __name__ == "__main__":
    main()
