"""Stage `report`: the study as a story with pictures and charts, from the other stages' files."""

from pathlib import Path

from ablation.base.console import announce, console
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.show.answer import in_short
from ablation.show.report import write_charts, write_pictures
from ablation.show.story import write_report
from ablation.show.study import Study


def main() -> None:
    """Draw and tell what the stages wrote, and print the result in a few sentences."""
    with stage_process():
        params = load_params()
        study = Study(Path(), params.families, params.data.dataset, params.dataset)
        announce("report", study.note)
        drawn = [*write_pictures(study), *write_charts(study)]
        *_, page = told = write_report(study)
        for sentence in in_short(study):
            console.print(sentence)
        console.print(f"the rest is in {page} and {len(drawn) + len(told) - 1} other files")


if __name__ == "__main__":
    main()
