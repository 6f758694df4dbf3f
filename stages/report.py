"""Stage `report`: every picture and chart of the study, from the numbers of the other stages."""

from pathlib import Path

from ablation.base.console import console, plain_errors
from ablation.params import load_params
from ablation.show.report import summary, write_charts, write_pictures
from ablation.show.study import Study


def main() -> None:
    """Draw what the stages wrote, say where, and print the test results of all models."""
    with plain_errors():
        params = load_params()
        study = Study(Path(), params.families, params.data.dataset, params.dataset)
        for written in (*write_pictures(study), *write_charts(study)):
            console.print(f"wrote {written}")
        console.print(summary(study))


if __name__ == "__main__":
    main()
