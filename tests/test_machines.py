"""A study on the workers of a cluster: real dvc, and real processes of Dask."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablation.run.cluster import SCHEDULER_VARIABLE
from ablation.run.hardware import processor_name
from tests.clones import Clone, stages_run, wait_for
from tests.clusters import ANOTHER_PROCESSOR, Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.running(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.mark.deep
def test_two_workers_one_of_them_killed_give_the_same_bytes(
    study: Clone, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages with racing, of whole recipes and of fits, compared with local workers."""
    stages = ("baseline@mlp", "optimizer@mlp", "leave_one_out@mlp", "fit@mlp")
    there = study.duplicate(tmp_path / "there")
    shutil.rmtree(there.cache)
    caches = [replace(there, cache=tmp_path / name) for name in ("killed", "stays")]
    killed, _ = (cluster.worker(ABLATION_CACHE=str(each.cache)) for each in caches)
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster.address)
    dvc = there.start("dvc", "repro", "--force", "--single-item", *stages)
    wait_for(lambda: caches[0].trained() or dvc.poll() is not None)
    killed.kill()
    output, _ = dvc.communicate()
    assert dvc.returncode == 0, output

    assert stages_run(output) == {*stages}
    assert there.results() == study.results()
    # Every trial was trained by them.
    assert there.trained().keys() == caches[0].trained().keys() | caches[1].trained().keys()


@pytest.mark.deep
def test_a_stage_runs_on_one_kind_of_machine(
    study: Clone, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three workers have another processor; they run all stages until they leave."""
    there = replace(study.duplicate(tmp_path / "study"), cache=tmp_path / "cache")
    there.edit("training", "machines", value="mixed")
    again = ("dvc", "repro", "--force", "--single-item")
    (tmp_path / "abacus.py").write_text(ANOTHER_PROCESSOR)
    cluster.worker()
    others = [cluster.worker("--preload", str(tmp_path / "abacus.py")) for _ in range(2)]
    cluster.has(3)
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster.address)
    said = there.run(*again, "baseline@mlp", "optimizer@mlp")
    assert said.count("this stage is computed on Abacus") == 2
    for worker in others:
        worker.kill()
    cluster.has(1)
    assert f"computed on {processor_name()}" in there.run(*again, "batchnorm@mlp")
    computers = {
        stage: set(pd.read_csv(there.path / f"data/times/mlp/{stage}.csv").computer)
        for stage in ("baseline", "optimizer", "batchnorm")
    }
    assert computers == {
        "baseline": {"Abacus"},
        "optimizer": {"Abacus"},
        # Including the incumbent, which the others had already trained.
        "batchnorm": {processor_name()},
    }
