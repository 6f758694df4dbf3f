"""The number of cores available to this process, by its affinity and its container's quota."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self")


def cores() -> int:
    """Number of cores available to this process, at least 1; fractional quotas are rounded up."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(bound or 1, quota())))


def quota(process: Path = PROCESS) -> float:
    """CPU quota of a process in cores, as set by its control groups; inf without a limit.

    A limit applies to all groups below it, so the smallest one counts. A container's limit is often
    set above the process's own group, where joblib and dask do not look.

    Args:
        process: its folder in /proc, which exists on Linux only.

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
    """The CPU control groups (v1 or v2) from the process's own up to the root."""
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
            # A container may see its own group as the root.
            below = own[kind].relative_to(root) if own[kind].is_relative_to(root) else Path()
            yield from (Path(place, part) for part in (below, *below.parents))


def _granted(group: Path) -> float:
    try:
        if (group / "cpu.max").is_file():
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit, period = ((group / f"cpu.cfs_{of}_us").read_text() for of in ("quota", "period"))
        return int(limit) / int(period) if int(limit) > 0 else math.inf
    except (OSError, ValueError):  # the root group has no limit, and others may have "max"
        return math.inf
