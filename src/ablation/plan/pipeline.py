"""The stages of dvc.yaml as DVC sees them: what each one runs, and why it would run now."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ablation.base.errors import UserError, one_line
from ablation.params import PARAMS

# The first one is shown. Outputs that are missing are made again as dvc.lock has them.
Reason = Literal["new", "parameters", "inputs", "code", "command", "outputs"]
CODE = ("src/", "stages/", "requirements.lock")


class PipelineError(UserError):
    """A pipeline that cannot be planned; DVC may run it all the same."""


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    command: the words of its command line; before: the stages whose outputs it reads.
    reasons: why DVC runs it now, whatever the stages before it do; none if it need not.
    """

    name: str
    command: tuple[str, ...]
    before: frozenset[str]
    reasons: tuple[Reason, ...]

    @property
    def script(self) -> str:
        """The name of its script in stages/; empty where it runs something else."""
        return next((Path(word).stem for word in self.command if word.startswith("stages/")), "")

    def option(self, name: str) -> str:
        """What its command line has after `--name`.

        Raises:
            PipelineError: it has no such option.
        """
        for word, following in pairwise(self.command):
            if word == f"--{name}":
                return following
        raise PipelineError(f"dvc.yaml: stages: {self.name}: cmd: --{name} is missing; add it")


def read_stages() -> list[Stage]:
    """The stages of dvc.yaml in an order in which they can run.

    DVC's own locks are left alone: `check` asks while `dvc repro` holds them.

    Raises:
        PipelineError: DVC cannot read the pipeline, or what it last ran on.
    """
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    try:
        with Repo() as repo:
            return _in_order({each.addressing: each for each in repo.stage.load_all("dvc.yaml")})
    except (DvcException, CycleError) as error:
        raise PipelineError(f"dvc.yaml, dvc.lock: {one_line(error)}") from None


def _in_order(stages: dict[str, Any]) -> list[Stage]:
    before = {
        name: frozenset(
            other
            for other, producer in stages.items()
            if other != name and any(_overlap(d, o) for d in stage.deps for o in producer.outs)
        )
        for name, stage in stages.items()
    }
    made = [out for stage in stages.values() for out in stage.outs]
    return [
        Stage(
            name, tuple(shlex.split(stages[name].cmd)), before[name], _reasons(stages[name], made)
        )
        for name in TopologicalSorter(before).static_order()
    ]


def _overlap(dep: Any, out: Any) -> bool:
    one, other = f"{dep.def_path}/", f"{out.def_path}/"
    return one.startswith(other) or other.startswith(one)


def _reasons(stage: Any, made: Iterable[Any]) -> tuple[Reason, ...]:
    """Why it differs from dvc.lock.

    made: the outputs of all stages. Where one of them is missing, its own stage runs.
    """
    from dvc.dependency import ParamsDependency  # type: ignore[import-untyped]

    if not any(dep.hash_info for dep in stage.deps):
        return ("new",)
    found: set[Reason] = set()
    for dep in stage.deps:
        status = dep.status()
        if status and (isinstance(dep, ParamsDependency) or dep.def_path == str(PARAMS)):
            found.add("parameters")
        elif status and dep.def_path.startswith(CODE):
            found.add("code")
        elif status and not ("deleted" in status.values() and any(_overlap(dep, o) for o in made)):
            found.add("inputs")
    if stage.changed_stage():
        found.add("command")
    if any(out.status() for out in stage.outs):
        found.add("outputs")
    order: tuple[Reason, ...] = ("parameters", "inputs", "code", "command", "outputs")
    return tuple(reason for reason in order if reason in found)
