"""Stage `report`: every picture and chart of the study, from the numbers of the other stages."""

from pathlib import Path

from ablation.base.console import console, stage_process
from ablation.params import load_params
from ablation.show.report import Study, summary, write_charts, write_pictures


def main() -> None:
    """Draw what the stages wrote, say where, and print the test results of all models."""
    with stage_process():
        params = load_params()
        study = Study(root=Path(), models=params.families, note=params.dataset.note)
        for written in (*write_pictures(study), *write_charts(study)):
            console.print(f"wrote {written}")
        console.print(summary(study))


if __name__ == "__main__":
    main()
