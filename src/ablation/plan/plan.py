"""What `dvc repro` would run, train and take now: for `ablation plan` and for `check`."""

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
from ablation.plan.pipeline import read_stages
from ablation.plan.work import State, Trainings, Work, list_work
from ablation.processes.cores import cores
from ablation.raw.loading import expected_size
from ablation.run.hardware import Hardware
from ablation.run.precision import hardware_for
from ablation.run.runner import TrialRunner
from ablation.study.inputs import TRAINING_CHARACTERS
from ablation.trial.trials import Trial

if TYPE_CHECKING:  # it imports torch, which a plan without trainings does not need
    from ablation.plan.cost import TrainingCost

FEWEST_CLASSES = 2  # of a network, where nobody knows yet how many there are
# What a run takes beside its trainings, in seconds on an idle machine: a stage starts a process,
# some stages compute, the first training waits for torch, and each one splits its characters.
A_STAGE = 1.0
STAGES = {"prepare": 15.0, "evaluate": 3.0, "compare": 3.0, "report": 10.0}
FIRST_TRAINING = 3.0
A_TRAINING = 0.1
# Four processes on one GPU train 2.4 to 2.8 times as many as one (docs/speed.md).
A_FURTHER_PROCESS_ON_A_GPU = 0.5


@dataclass(frozen=True)
class Planned:
    """A stage's work, and about how many seconds it takes; None where that is not known.

    seconds_otherwise: if results change.
    """

    work: Work
    seconds: float | None
    seconds_otherwise: float | None


@dataclass(frozen=True)
class Plan:
    """What a run of the pipeline would do.

    things: what the study calls its images; makes_images: whether `prepare` runs.
    """

    stages: tuple[Planned, ...]
    workers: int
    things: str
    makes_images: bool

    def count(self, state: str) -> int:
        """How many stages are in a state."""
        return sum(each.work.state == state for each in self.stages)

    @property
    def trainings(self) -> Trainings:
        """Of all stages, if results stay as they are, where stages have some."""
        each = [planned.work.trainings for planned in self.stages]
        return Trainings(
            tuple(trial for one in each for trial in one.least),
            tuple(trial for one in each for trial in one.most),
        )

    @property
    def remembered(self) -> int:
        """Trainings of the stages that run, and may run, which are remembered."""
        return sum(each.work.remembered or 0 for each in self.stages)

    @property
    def seconds(self) -> float | None:
        """If results stay as they are, where stages have some."""
        return _total((each.seconds for each in self.stages), bool(self.trainings.most))

    @property
    def seconds_otherwise(self) -> float | None:
        """If results change, wherever they can."""
        trains = any(each.work.otherwise or each.work.trainings.most for each in self.stages)
        return _total((each.seconds_otherwise for each in self.stages), trains)

    def to_dict(self) -> dict[str, Any]:
        """As `ablation plan --json` prints it."""
        return {
            "stages": [
                {
                    "stage": each.work.stage.name,
                    "state": each.work.state,
                    "reasons": each.work.stage.reasons,
                    "remembered": each.work.remembered,
                    "train": _amount(each.work.trainings),
                    "train_if_results_change": _amount(each.work.otherwise or each.work.trainings),
                    "winner_unknown": each.work.sized,
                    "seconds": each.seconds,
                    "seconds_if_results_change": each.seconds_otherwise,
                }
                for each in self.stages
            ],
            "totals": {
                "stages": len(self.stages),
                "run": self.count("runs"),
                "may_run": self.count("may run"),
                "remembered": self.remembered,
                "train": _amount(self.trainings),
                "seconds": self.seconds,
                "seconds_if_results_change": self.seconds_otherwise,
                "workers": self.workers,
            },
        }

    def totals(self) -> list[str]:
        """Two lines: what runs and trains, and how long it takes."""
        runs, may_run = self.count("runs"), self.count("may run")
        if not runs:
            return ["everything is up to date: nothing runs"]
        what = f"{runs} of {len(self.stages)} stages run"
        if may_run:
            what += f", {may_run} may"
        trainings = self.trainings
        if trainings.most:
            what += f": {_range(trainings)}, {self.remembered} remembered"
        else:
            what += ": nothing is trained"
            if self.makes_images:
                what += f", if the {self.things} are as before"
        seconds, otherwise = self.seconds, self.seconds_otherwise
        if seconds is None or otherwise is None:
            return [what, f"how long it takes is not known before the {self.things} are read"]
        time = f"about {duration(seconds)} on this machine, {self.workers} at a time"
        if otherwise > seconds and duration(otherwise) != duration(seconds):
            time += f"; about {duration(otherwise)} if results change"
        return [what, time]


def make_plan() -> Plan:
    """What `dvc repro` would do now, in the repository that is worked in.

    Raises:
        UserError: params.yaml or dvc.yaml is at fault, or asks for more than this machine or the
            data set has.
    """
    params = load_params()
    training = params.training
    hardware, _ = hardware_for(training.precision, training.device, training.workers)
    size = expected_size(params)
    if size:
        params.refuse_large_batches(size.training)
        params.refuse_small_classes(size.at_most)
    stages = read_stages()
    prepare = next((set(each.reasons) for each in stages if each.script == "prepare"), set())
    # Other parameters make other characters; other raw files may be the same in another form.
    other = "parameters" in prepare or ("inputs" in prepare and params.data.dataset == FOLDER)
    works = list_work(stages, params, _runner(params, hardware), other)
    cost = None
    if any(each.trainings.most or each.otherwise for each in works):
        from ablation.plan.cost import TrainingCost, refuse_networks_without_memory

        classes = size.classes if size else FEWEST_CLASSES
        for model in params.families:
            refuse_networks_without_memory(params, model, classes)
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
    except UserError:  # missing or damaged: `prepare` makes them again
        return None
    return runner


def _plan_seconds(work: Work, hardware: Hardware, cost: "TrainingCost | None") -> Planned:
    side_by_side = float(min(hardware.workers, cores()))
    if hardware.device == "cuda":
        side_by_side = 1 + A_FURTHER_PROCESS_ON_A_GPU * (hardware.workers - 1)

    def wall(trials: tuple[Trial, ...], cost: "TrainingCost") -> float:
        each = [A_TRAINING + cost.seconds(trial) for trial in trials]
        return max(sum(each) / side_by_side, *each, 0.0)

    def seconds(state: State, some: Trainings) -> float | None:
        if state == "up to date":
            return 0.0
        own = STAGES.get(work.stage.script, A_STAGE)
        if not some.most:
            return own
        return own + (wall(some.least, cost) + wall(some.most, cost)) / 2 if cost else None

    stays: State = "runs" if work.state == "runs" else "up to date"
    return Planned(
        work,
        seconds(stays, work.trainings),
        seconds(work.state, work.otherwise or work.trainings),
    )


def _total(seconds: Iterable[float | None], trains: bool) -> float | None:
    total = FIRST_TRAINING if trains else 0.0
    for each in seconds:
        if each is None:
            return None
        total += each
    return total


def show(plan: Plan) -> None:
    """Print the plan as a person reads it, in 80 columns."""
    table = Table("stage", "state", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("remembered", "to train", "or at most", "about"):
        table.add_column(head, justify="right")
    for each in plan.stages:
        work = each.work
        state = f"{work.state}: {work.stage.reasons[0]}" if work.state == "runs" else work.state
        trains = work.remembered is not None
        table.add_row(
            work.stage.name,
            state,
            str(work.remembered) if trains else "",
            f"{_range(work.trainings)}{'*' if work.sized else ''}" if trains else "",
            str(len(work.otherwise.most)) if work.otherwise else "",
            duration(each.seconds) if each.seconds else "",
        )
    console.print(table)
    notes = {
        "or at most: if winners change, or racing stops less": any(
            each.work.otherwise for each in plan.stages
        ),
        "*: the winner before the stage is not known yet; sized by the baseline recipe": any(
            each.work.sized for each in plan.stages
        ),
    }
    for line in (*(note for note, holds in notes.items() if holds), *plan.totals()):
        console.print(line)


def show_json(plan: Plan) -> None:
    """Print the plan as JSON."""
    print(json.dumps(plan.to_dict(), indent=2))


def duration(seconds: float) -> str:
    """For people: 3.2 -> 4 s, 12 -> 20 s, 5400 -> 90 min."""
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    step = 1 if seconds < 10 else 10
    return f"{ceil(seconds / step) * step} s"


def _range(trainings: Trainings) -> str:
    least, most = len(trainings.least), len(trainings.most)
    return ("" if least == most else f"{least} to ") + counted(most, "training")


def _amount(trainings: Trainings) -> dict[str, float]:
    least, most = len(trainings.least), len(trainings.most)
    return {"least": least, "expected": (least + most) / 2, "most": most}
