"""The stages, trainings and time of a `dvc repro`, for `ablation plan` and `check`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ablation.base.console import console
from ablation.base.errors import UserError
from ablation.base.formatting import counted
from ablation.data.datasets import FOLDER
from ablation.params import Params, load_params
from ablation.plan.pipeline import PIPELINE, read_stages
from ablation.plan.work import State, Trainings, Work, list_work
from ablation.processes.cores import cores
from ablation.raw.loading import expected_size
from ablation.run.hardware import Hardware
from ablation.run.precision import hardware_for
from ablation.run.runner import TrialRunner
from ablation.study.inputs import TRAINING_CHARACTERS
from ablation.trial.trials import Trial

if TYPE_CHECKING:  # imports torch, which a plan without trainings does not need
    from ablation.plan.cost import TrainingCost

FEWEST_CLASSES = 2  # assumed while the number of classes is unknown
# Overhead in seconds: a stage (mostly DVC, which rewrites dvc.lock), what some stages do besides
# training, importing torch before the first training, and splitting the characters of each. Of the
# demo, on two idle cores of an Intel Xeon (Sapphire Rapids).
SECONDS_PER_STAGE = 1.0
SECONDS_OF_STAGE = {
    "prepare": 8.0, "evaluate": 2.5, "compare": 1.5, "report": 9.0, "search_report": 4.0,
}  # fmt: skip
SECONDS_BEFORE_TRAINING = 3.0
SECONDS_PER_TRAINING = 0.1
# Four processes on one GPU have 2.4 to 2.8 times the throughput of one (docs/speed.md).
GAIN_PER_GPU_PROCESS = 0.5


@dataclass(frozen=True)
class Planned:
    """The work of a stage, with estimates of its time.

    Attributes:
        work: its trainings.
        seconds: wall-clock time if no result changes; None if unknown.
        seconds_if_changed: wall-clock time if results change; None if unknown.
    """

    work: Work
    seconds: float | None
    seconds_if_changed: float | None


@dataclass(frozen=True)
class Plan:
    """The work of a run of the pipeline.

    Attributes:
        stages: in the order in which they run.
        workers: number of parallel worker processes.
        things: plural noun for the images of the data set, such as `characters`.
        prepare_runs: whether the stage `prepare` runs.
    """

    stages: tuple[Planned, ...]
    workers: int
    things: str
    prepare_runs: bool

    def count(self, state: str) -> int:
        """Number of stages in a state."""
        return sum(each.work.state == state for each in self.stages)

    @property
    def trainings(self) -> Trainings:
        """The trainings of all stages if no result changes."""
        return Trainings.union(planned.work.trainings for planned in self.stages)

    @property
    def cached(self) -> int:
        """Number of cached trainings of the stages that run or may run."""
        return sum(each.work.cached or 0 for each in self.stages)

    @property
    def seconds(self) -> float | None:
        """Estimated wall-clock time if no result changes; None if unknown."""
        return _total((each.seconds for each in self.stages), bool(self.trainings.most))

    @property
    def seconds_if_changed(self) -> float | None:
        """Estimated wall-clock time if all results change that can; None if unknown."""
        trains = any(each.work.if_changed or each.work.trainings.most for each in self.stages)
        return _total((each.seconds_if_changed for each in self.stages), trains)

    def to_dict(self) -> dict[str, Any]:
        """The content of `ablation plan --json`."""
        return {
            "stages": [
                {
                    "stage": each.work.stage.name,
                    "state": each.work.state,
                    "reasons": each.work.stage.reasons,
                    "cached": each.work.cached,
                    "train": _amount(each.work.trainings),
                    "train_if_results_change": _amount(each.work.if_changed or each.work.trainings),
                    "winner_unknown": each.work.start_unknown,
                    "seconds": each.seconds,
                    "seconds_if_results_change": each.seconds_if_changed,
                }
                for each in self.stages
            ],
            "totals": {
                "stages": len(self.stages),
                "run": self.count("runs"),
                "may_run": self.count("may run"),
                "cached": self.cached,
                "train": _amount(self.trainings),
                "seconds": self.seconds,
                "seconds_if_results_change": self.seconds_if_changed,
                "workers": self.workers,
            },
        }

    def totals(self) -> list[str]:
        """One or two lines: the stages and trainings, and the time they need."""
        runs, may_run = self.count("runs"), self.count("may run")
        if not runs:
            return ["everything is up to date: nothing runs"]
        work = f"{runs} of {len(self.stages)} stages run"
        if may_run:
            work += f", {may_run} may run"
        trainings = self.trainings
        if trainings.most:
            least, most = len(trainings.least), counted(len(trainings.most), "training")
            some = most if least == len(trainings.most) else f"{least:,} to {most}"
            work += f": {some}, {self.cached:,} cached"
        else:
            work += ": nothing is trained"
            if self.prepare_runs:
                work += f", unless the {self.things} change"
        seconds, if_changed = self.seconds, self.seconds_if_changed
        if seconds is None or if_changed is None:
            return [work, f"the time is unknown until the {self.things} are read"]
        time = f"about {duration(seconds)} on this machine, {self.workers} at a time"
        if if_changed > seconds and duration(if_changed) != duration(seconds):
            time += f"; about {duration(if_changed)} if results change"
        return [work, time]


def make_plan(pipeline: str = PIPELINE) -> Plan:
    """Plan a `dvc repro` in the current repository.

    Args:
        pipeline: the pipeline to run; that of the search includes the stages before it.

    Raises:
        UserError: params.yaml or the pipeline is invalid, or requires more than this machine or the
            data set has.
    """
    params = load_params()
    training = params.training
    hardware, _ = hardware_for(training.precision, training.device, training.workers)
    size = expected_size(params)
    if size:
        params.check_batch_size(size.training)
        params.check_class_sizes(size.at_most)
    stages = read_stages(pipeline)
    prepare = next((set(each.reasons) for each in stages if each.script == "prepare"), set())
    # Changed parameters change the characters. Changed raw files may hold the same ones in another
    # format, except for a folder of pictures.
    changed = "parameters" in prepare or ("inputs" in prepare and params.data.dataset == FOLDER)
    works = list_work(stages, params, _runner(params, hardware), changed, size)
    cost = None
    if any(each.trainings.most or each.if_changed for each in works):
        from ablation.plan.cost import TrainingCost, check_memory

        classes = size.classes if size else FEWEST_CLASSES
        for model in params.families:
            check_memory(params, model, classes)
        cost = TrainingCost(params, hardware, size.training, classes) if size else None
    return Plan(
        tuple(_plan_seconds(work, hardware, cost) for work in works),
        hardware.workers,
        params.dataset.things,
        bool(prepare),
    )


def _runner(params: Params, hardware: Hardware) -> TrialRunner | None:
    runner = TrialRunner(TRAINING_CHARACTERS, params.training.batch_size, hardware)
    try:
        runner.digest  # noqa: B018
    except UserError:  # missing or corrupted: `prepare` will write them
        return None
    return runner


def _plan_seconds(work: Work, hardware: Hardware, cost: "TrainingCost | None") -> Planned:
    parallelism = float(min(hardware.workers, cores()))
    if hardware.device == "cuda":
        parallelism = 1 + GAIN_PER_GPU_PROCESS * (hardware.workers - 1)

    def wall(trials: tuple[Trial, ...], cost: "TrainingCost") -> float:
        each = [SECONDS_PER_TRAINING + cost.seconds(trial) for trial in trials]
        return max(sum(each) / parallelism, *each, 0.0)

    def seconds(state: State, trainings: Trainings) -> float | None:
        if state == "up to date":
            return 0.0
        overhead = SECONDS_OF_STAGE.get(work.stage.script, SECONDS_PER_STAGE)
        if not trainings.most:
            return overhead
        if not cost:
            return None
        return overhead + (wall(trainings.least, cost) + wall(trainings.most, cost)) / 2

    unchanged: State = "runs" if work.state == "runs" else "up to date"
    return Planned(
        work,
        seconds(unchanged, work.trainings),
        seconds(work.state, work.if_changed or work.trainings),
    )


def _total(seconds: Iterable[float | None], trains: bool) -> float | None:
    total = SECONDS_BEFORE_TRAINING if trains else 0.0
    for each in seconds:
        if each is None:
            return None
        total += each
    return total


def show(plan: Plan) -> None:
    """Print the plan as a table, 80 columns wide."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("stage", overflow="fold")
    table.add_column("state")
    for head in ("cached", "to train", "or at most", "about"):
        table.add_column(head, justify="right")
    for each in plan.stages:
        work = each.work
        state = f"{work.state}: {work.stage.reasons[0]}" if work.state == "runs" else work.state
        trains = work.cached is not None
        table.add_row(
            work.stage.name.replace(f"/{PIPELINE}", ""),
            state,
            str(work.cached) if trains else "",
            f"{_range(work.trainings)}{'*' if work.start_unknown else ''}" if trains else "",
            str(len(work.if_changed.most)) if work.if_changed else "",
            duration(each.seconds) if each.seconds else "",
        )
    console.print(table)
    notes = {
        "or at most: if winners change, or racing stops fewer trials": any(
            each.work.if_changed for each in plan.stages
        ),
        "*: a recipe that the stage starts from is unknown; another one stands in for it": any(
            each.work.start_unknown for each in plan.stages
        ),
        "draws: estimated, if all of them train to the end and if most are given up": any(
            each.work.drawn for each in plan.stages
        ),
    }
    for line in (*(note for note, holds in notes.items() if holds), *plan.totals()):
        console.print(line)


def show_json(plan: Plan) -> None:
    """Print the plan as JSON."""
    print(json.dumps(plan.to_dict(), indent=2))


def duration(seconds: float) -> str:
    """A rounded duration: 3.2 -> 4 s, 12 -> 20 s, 5400 -> 90 min."""
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    step = 1 if seconds < 10 else 10
    return f"{ceil(seconds / step) * step} s"


def _range(trainings: Trainings) -> str:
    least, most = len(trainings.least), len(trainings.most)
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _amount(trainings: Trainings) -> dict[str, float]:
    least, most = len(trainings.least), len(trainings.most)
    return {"least": least, "expected": (least + most) / 2, "most": most}
