"""The stages of a dvc.yaml: their commands, their order, and why DVC would run each now."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ablation.base.errors import UserError, one_line
from ablation.params import PARAMS
from ablation.plan.code import DIGESTS, stage_digests

PIPELINE = "dvc.yaml"
# In the order of importance; `ablation plan` shows the first.
Reason = Literal["new", "parameters", "inputs", "code", "command", "outputs"]
# What stage `code` reads, and what it writes for the others.
CODE = ("src/", "stages", "requirements.lock", f"{DIGESTS}/")


class PipelineError(UserError):
    """The pipeline cannot be planned, although DVC may be able to run it."""


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: as DVC names it, such as `dropout@mlp` or `search/dvc.yaml:tpe@mlp`.
        command: its command line, split into words.
        before: names of the stages whose outputs it reads, other than `code`.
        reasons: why DVC would run it now, regardless of the stages before it; may be empty.
    """

    name: str
    command: tuple[str, ...]
    before: frozenset[str]
    reasons: tuple[Reason, ...]

    @property
    def script(self) -> str:
        """The name of its script in stages/; empty if it runs another program."""
        return next((Path(word).stem for word in self.command if word.startswith("stages/")), "")

    def option(self, name: str) -> str:
        """The value of an option on its command line.

        Args:
            name: without the leading `--`.

        Raises:
            PipelineError: the option is missing.
        """
        for word, following in pairwise(self.command):
            if word == f"--{name}":
                return following
        pipeline, _, stage = self.name.rpartition(":")
        file = pipeline or PIPELINE
        raise PipelineError(f"{file}: stages: {stage}: cmd: --{name} is missing; add it")


def read_stages(pipeline: str = PIPELINE) -> list[Stage]:
    """The stages that `dvc repro` would look at, in topological order.

    Takes none of DVC's locks, so it also works inside `dvc repro`, as `check` does.

    Args:
        pipeline: dvc.yaml, or another one, whose stages may depend on those of dvc.yaml.

    Raises:
        PipelineError: DVC cannot read the pipeline or its lock file.
    """
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    try:
        with Repo() as repo:
            each = [repo.stage.load_all(path) for path in dict.fromkeys((pipeline, PIPELINE))]
            wanted = {stage.addressing for stage in each[0]}
            return _in_order({stage.addressing: stage for some in each for stage in some}, wanted)
    except (DvcException, CycleError) as error:
        lock = Path(pipeline).with_suffix(".lock")
        raise PipelineError(f"{pipeline}, {lock}: {one_line(error)}") from None


def _in_order(stages: dict[str, Any], wanted: set[str]) -> list[Stage]:
    before = {
        name: frozenset(
            other
            for other, producer in stages.items()
            if other not in (name, "code")
            and any(_overlap(d, o) for d in stage.deps for o in producer.outs)
        )
        for name, stage in stages.items()
    }
    needed, new = {"code"}, {*wanted}
    while new:
        needed |= new
        new = {other for name in new for other in before[name]} - needed
    made = [out for stage in stages.values() for out in stage.outs]
    sources = stages["code"].deps if "code" in stages else []
    edited = _edited_code() if any(dep.hash_info and dep.status() for dep in sources) else set()
    return [
        Stage(
            name,
            tuple(shlex.split(stages[name].cmd)),
            before[name],
            _reasons(stages[name], made, edited),
        )
        for name in TopologicalSorter(before).static_order()
        if name in needed
    ]


def _edited_code() -> set[str]:
    """The files in data/code that stage `code` will change."""
    return {
        str(path)
        for path, content in stage_digests().items()
        if not path.is_file() or path.read_text() != content
    }


def _overlap(dep: Any, out: Any) -> bool:
    one, other = f"{dep.def_path}/", f"{out.def_path}/"
    return one.startswith(other) or other.startswith(one)


def _reasons(stage: Any, made: Iterable[Any], edited: set[str]) -> tuple[Reason, ...]:
    """The differences between a stage and dvc.lock.

    made: outputs of all stages. A missing dependency that is one of them is no reason: the stage
    that writes it will run.
    edited: dependencies that stage `code` will change.
    """
    from dvc.dependency import ParamsDependency  # type: ignore[import-untyped]

    if not any(dep.hash_info for dep in stage.deps):
        return ("new",)
    found: set[Reason] = set()
    for dep in stage.deps:
        status = dep.status()
        if status and (isinstance(dep, ParamsDependency) or dep.def_path == str(PARAMS)):
            found.add("parameters")
        elif dep.def_path in edited or (status and dep.def_path.startswith(CODE)):
            found.add("code")
        elif status and not ("deleted" in status.values() and any(_overlap(dep, o) for o in made)):
            found.add("inputs")
    if stage.changed_stage():
        found.add("command")
    if any(out.status() for out in stage.outs):
        found.add("outputs")
    order: tuple[Reason, ...] = ("parameters", "inputs", "code", "command", "outputs")
    return tuple(reason for reason in order if reason in found)
