"""A study on the workers of a cluster: real dvc, and real processes of Dask."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablation.run.cluster import SCHEDULER_VARIABLE
from ablation.run.hardware import processor_name
from tests.clones import Clone, wait_for
from tests.clusters import ANOTHER_PROCESSOR, Cluster


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


def test_a_stage_is_computed_by_one_kind_of_machine(
    prepared: Clone, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three workers have another processor: they compute all stages until they leave."""
    study = replace(prepared.duplicate(tmp_path / "study"), memory=tmp_path / "memory")
    study.edit("training", "machines", value="mixed")
    (tmp_path / "abacus.py").write_text(ANOTHER_PROCESSOR)
    cluster.worker()
    others = [cluster.worker("--preload", str(tmp_path / "abacus.py")) for _ in range(2)]
    cluster.has(3)
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster.address)
    assert "this stage is computed on Abacus" in study.run("dvc", "repro", "optimizer@mlp")
    for worker in others:
        worker.kill()
    cluster.has(1)
    assert f"this stage is computed on {processor_name()}" in study.run(
        "dvc", "repro", "batchnorm@mlp"
    )
    computers = {
        stage: set(pd.read_csv(study.path / f"data/times/mlp/{stage}.csv").computer)
        for stage in ("baseline", "optimizer", "batchnorm")
    }
    assert computers == {
        "baseline": {"Abacus"},
        "optimizer": {"Abacus"},
        # Its incumbent as well, which the others had trained already.
        "batchnorm": {processor_name()},
    }
