"""A study on the workers of a cluster: real dvc, and real processes of Dask."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ablation.run.cluster import SCHEDULER_VARIABLE
from tests.clones import Clone, wait_for
from tests.clusters import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.running(tmp_path / "cluster") as cluster:
        yield cluster


def test_two_workers_of_which_one_is_killed_give_the_same_bytes(
    prepared: Clone, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stage that trains one family, beside the same study with this machine's own workers."""
    study = ("dvc", "repro", "fit@mlp", "leave_one_out@mlp")
    here, there = (prepared.duplicate(tmp_path / name) for name in ("here", "there"))
    memories = [replace(there, memory=tmp_path / name) for name in ("killed", "stays")]
    killed, _ = (cluster.worker(ABLATION_CACHE=str(each.memory)) for each in memories)
    alone = here.start(*study)
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster.address)
    spread = there.start(*study)
    wait_for(lambda: memories[0].trained() or spread.poll() is not None)
    killed.kill()
    for dvc in (alone, spread):
        output, _ = dvc.communicate()
        assert dvc.returncode == 0, output

    found, expected = there.results(), here.results()
    assert {"data/models/mlp.safetensors", "metrics/mlp/leave_one_out.json"} <= expected.keys()
    assert found == expected
    # All that was trained was trained there.
    assert there.trained().keys() == memories[0].trained().keys() | memories[1].trained().keys()
