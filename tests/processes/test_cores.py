"""The number of cores available to a process, in containers of several kinds."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablation.processes.cores import cores, quota

TOP = Path("/sys/fs/cgroup")
SRC = Path(__file__).parents[2] / "src"
HYBRID = "4:memory:/job\n2:cpu,cpuacct:{path}\n0::/\n"
MOUNT = "31 23 0:28 {root} {place} rw,relatime shared:9 - {kind} none rw,{options}\n"


def process(folder: Path, groups: str, *mounts: dict[str, str]) -> Path:
    """A process's folder in /proc, and control groups mounted in the folder."""
    (folder / "cgroup").write_text(groups)
    lines = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"]
    lines += [MOUNT.format(place=folder / "mounted", **mount) for mount in mounts]
    (folder / "mountinfo").write_text("".join(lines))
    return folder


def write(place: Path, **files: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("limit", "granted"),
    [("200000 100000", 2), ("50000 100000", 0.5), ("150000 100000", 1.5), ("max 100000", math.inf)],
)
def test_a_quota_of_cgroup_v2_is_respected(limit: str, granted: float, tmp_path: Path) -> None:
    write(tmp_path / "mounted/user/app", cpu__max=f"{limit}\n")
    mount = {"root": "/", "kind": "cgroup2", "options": "nsdelegate"}
    assert quota(process(tmp_path, "0::/user/app\n", mount)) == granted


@pytest.mark.parametrize(("limit", "granted"), [("250000", 2.5), ("-1", math.inf)])
def test_a_quota_of_cgroup_v1_is_respected(limit: str, granted: float, tmp_path: Path) -> None:
    files = {"cpu__cfs_quota_us": f"{limit}\n", "cpu__cfs_period_us": "100000\n"}
    write(tmp_path / "mounted/job", **files)
    mount = {"root": "/", "kind": "cgroup", "options": "cpu,cpuacct"}
    assert quota(process(tmp_path, HYBRID.format(path="/job"), mount)) == granted


def test_the_smallest_quota_of_nested_groups_applies(tmp_path: Path) -> None:
    write(tmp_path / "mounted/slice", cpu__max="100000 100000\n")
    write(tmp_path / "mounted/slice/pod", cpu__max="400000 100000\n")
    write(tmp_path / "mounted/slice/pod/app", cpu__max="max 100000\n")
    mount = {"root": "/", "kind": "cgroup2", "options": "nsdelegate"}
    assert quota(process(tmp_path, "0::/slice/pod/app\n", mount)) == 1


@pytest.mark.parametrize("path", ["/docker/abc", "/", "/../../elsewhere"])
def test_the_quota_of_a_container_that_sees_only_its_own_group_is_respected(
    path: str, tmp_path: Path
) -> None:
    write(tmp_path / "mounted", cpu__max="300000 100000\n")
    root = path if path.startswith("/docker") else "/"
    mount = {"root": root, "kind": "cgroup2", "options": "nsdelegate"}
    assert quota(process(tmp_path, f"0::{path}\n", mount)) == 3


def test_groups_of_other_controllers_are_ignored(tmp_path: Path) -> None:
    write(tmp_path / "mounted/job", cpu__cfs_quota_us="1\n", cpu__cfs_period_us="1\n")
    mount = {"root": "/", "kind": "cgroup", "options": "cpuset"}
    assert quota(process(tmp_path, HYBRID.format(path="/job"), mount)) == math.inf


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path) == math.inf


def test_affinity_is_respected() -> None:
    command = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    assert cores_of_a_process(command) == 1


def cores_of_a_process(first: str = "") -> int:
    command = f"{first}from ablation.processes.cores import cores; print(cores())"
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    return int(subprocess.check_output([sys.executable, "-c", command], env=environment))


@pytest.fixture
def group() -> Iterator[Path]:
    """A real control group with a quota of half a core, below one without."""
    old = (TOP / "cpu").is_dir()
    outer = TOP / "cpu/ablation-test" if old else TOP / "ablation-test"
    try:
        (outer / "inner").mkdir(parents=True)
        if old:
            (outer / "cpu.cfs_quota_us").write_text("50000")
        else:
            (outer / "cpu.max").write_text("50000 100000")
    except OSError as error:
        pytest.skip(f"this machine lets nobody make a control group ({error.strerror})")
    yield outer / "inner"
    (outer / "inner").rmdir()
    outer.rmdir()


@pytest.mark.skipif(cores() < 2, reason="has one core")
def test_a_real_quota_on_this_machine_is_respected(group: Path) -> None:
    assert cores_of_a_process() == cores() > 1
    join = f"open('{group}/cgroup.procs', 'w').write('0'); "
    assert cores_of_a_process(join) == 1
