"""Stage `report`: the study as a story with pictures and charts, from the other stages' files."""

from pathlib import Path

from ablation.base.console import console
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.show.report import summary, write_charts, write_pictures
from ablation.show.story import write_report
from ablation.show.study import Study


def main() -> None:
    """Draw and tell what the stages wrote, say where, and print the test results of all models."""
    with stage_process():
        params = load_params()
        study = Study(Path(), params.families, params.data.dataset, params.dataset)
        for write in (write_pictures, write_charts, write_report):
            for written in write(study):
                console.print(f"wrote {written}")
        console.print(summary(study))


if __name__ == "__main__":
    main()
