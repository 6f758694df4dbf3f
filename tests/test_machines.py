"""A whole study on the workers of a cluster: real dvc, and real processes of Dask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ablation.run.cluster import SCHEDULER_VARIABLE
from tests.clones import Clone, wait_for
from tests.clusters import Cluster

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.running(tmp_path / "cluster") as cluster:
        yield cluster


def test_a_study_on_two_workers_of_which_one_is_killed_gives_the_same_bytes(
    study: Clone,
    prepared: Clone,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memories = [tmp_path / name for name in ("killed", "stays")]
    killed, _ = (cluster.worker(ABLATION_CACHE=str(memory)) for memory in memories)
    ours = prepared.duplicate(tmp_path / "study")
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster.address)
    dvc = ours.start("dvc", "repro")
    wait_for(lambda: (memories[0].exists() and any(memories[0].iterdir())) or dvc.poll())
    killed.kill()
    output, _ = dvc.communicate()
    assert dvc.returncode == 0, output
    assert ours.results() == study.results()
    computed = {path.name for memory in memories for path in memory.iterdir()}
    assert ours.trained().keys() == computed
