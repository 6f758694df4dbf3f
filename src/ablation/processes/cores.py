"""How many cores this process may use: those it is bound to, or what a container's quota grants."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self")


def cores() -> int:
    """Cores that this process may use, at least 1; a quota of a part of one counts as one more."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(bound or 1, quota())))


def quota(process: Path = PROCESS) -> float:
    """Cores' worth of processor time that control groups grant a process; inf without a limit.

    A limit holds for all groups below it, so the least counts: a container's is often above the
    process' own group, where joblib and dask do not look.

    Args:
        process: its folder in /proc, which only Linux has.

    Source:
        cgroups(7), cgroup_namespaces(7), /proc/pid/mountinfo in proc(5).
    """
    try:
        groups = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return math.inf
    return min(map(_granted, _folders(groups, mounts)), default=math.inf)


def _folders(groups: list[str], mounts: list[str]) -> Iterator[Path]:
    """Of the control groups of processor time, of either version: the process' own to the root."""
    own: dict[str, Path] = {}
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            own["cgroup"] = Path(path)
        elif not controllers:
            own["cgroup2"] = Path(path)
    for line in mounts:
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split()
        if kind in own and (kind == "cgroup2" or "cpu" in options.split(",")):
            # A container may see no more than its own group, as the root of all.
            below = own[kind].relative_to(root) if own[kind].is_relative_to(root) else Path()
            yield from (Path(place, part) for part in (below, *below.parents))


def _granted(group: Path) -> float:
    try:
        if (group / "cpu.max").is_file():
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit, period = ((group / f"cpu.cfs_{of}_us").read_text() for of in ("quota", "period"))
        return int(limit) / int(period) if int(limit) > 0 else math.inf
    except (OSError, ValueError):  # the uppermost group has no limit, and others may have "max"
        return math.inf
