"""Stage `report`: writes pictures, charts and the report from the other stages' files."""

from pathlib import Path

from ablation.base.console import announce, console
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.show.answer import summary
from ablation.show.report import write_charts, write_pictures
from ablation.show.story import write_report
from ablation.show.study import Study


def main() -> None:
    """Write pictures, charts and the report, and print a summary."""
    with stage_process():
        params = load_params()
        study = Study(Path(), params.families, params.data.dataset, params.dataset)
        announce("report", study.note)
        drawn = [*write_pictures(study), *write_charts(study)]
        *_, page = reports = write_report(study)
        for sentence in summary(study):
            console.print(sentence)
        console.print(f"details: {page}, and {len(drawn) + len(reports) - 1} other files")


if __name__ == "__main__":
    main()
