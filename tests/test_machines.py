"""A study on the workers of a cluster: real dvc, and real processes of Dask."""

from collections.abc import Iterator
from dataclasses import replace
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


def test_two_workers_of_which_one_is_killed_give_the_same_bytes(
    study: Clone,
    prepared: Clone,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every stage of one family, beside the same study with this machine's own workers."""
    ours = prepared.duplicate(tmp_path / "study")
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster.address)
    memories = [replace(ours, memory=tmp_path / name) for name in ("killed", "stays")]
    killed, _ = (cluster.worker(ABLATION_CACHE=str(each.memory)) for each in memories)
    dvc = ours.start("dvc", "repro", "evaluate@mlp", "leave_one_out@mlp")
    wait_for(lambda: memories[0].trained() or dvc.poll() is not None)
    killed.kill()
    output, _ = dvc.communicate()
    assert dvc.returncode == 0, output

    found, expected = ours.results(), study.results()
    names = [name for name in expected if "mlp" in Path(name).parts]
    assert len(names) > 50
    assert [name for name in names if found.get(name) != expected[name]] == []
    # All that was trained was trained there.
    assert ours.trained().keys() == memories[0].trained().keys() | memories[1].trained().keys()
