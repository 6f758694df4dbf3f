from pathlib import Path

import numpy as np
import pytest
from throughput import Work, measure, summary

from ablation.data.characters import CLASSES, Characters
from ablation.params import load_params
from ablation.raw.glyphs import write
from ablation.run.hardware import Hardware
from ablation.trial.families import CnnSpec, MlpSpec


@pytest.fixture
def glyphs(tmp_path: Path) -> Path:
    """Two glyphs of eight classes."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(8, dtype=np.uint8), 2)
    images = np.stack([write(CLASSES[label], generator) for label in labels])
    path = tmp_path / "train.npz"
    Characters(images, labels, CLASSES[:8]).save(path)
    return path


@pytest.mark.deep
@pytest.mark.parametrize(
    "model, spec, workers",
    [
        ("mlp", MlpSpec(hidden=(8, 8, 8), epochs=2), 2),
        ("cnn", CnnSpec(channels=(2, 2), dense=(8,), epochs=2), 1),
    ],
)
def test_both_loops_train_on_the_same_glyphs_and_report_a_rate_per_round(
    model: str,
    spec: MlpSpec | CnnSpec,
    workers: int,
    glyphs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "cache"))
    hardware = Hardware("cpu", bf16=False, workers=workers)
    work = Work(model, spec, load_params().baseline, glyphs, 16, 8, 8, hardware)
    rates = measure(work, rounds=2)
    assert list(rates) == ["plain", "engine", "ceiling"]
    assert all(len(each) == 2 and min(each) > 0 for each in rates.values())
    # Every round has trained, without using the cache.
    trainings = [path for path in (tmp_path / "cache").iterdir() if len(path.name) == 64]
    assert len(trainings) == workers * 3


def test_summary_takes_medians_and_their_ratios() -> None:
    spec = MlpSpec(hidden=(8, 8, 8), epochs=2)
    hardware = Hardware("cpu", bf16=False, workers=2)
    work = Work("mlp", spec, load_params().baseline, Path("unused"), 16, 8, 8, hardware)
    rates = {"plain": [1.0, 2.0, 9.0], "engine": [30.0, 20.0, 10.0], "ceiling": [25.0] * 3}
    row = summary(work, rates)
    assert row["images"] == 2 * 2 * 16
    assert row["sizes"] == "8-8-8"
    assert (row["engine_over_plain"], row["engine_over_ceiling"]) == (10.0, 0.8)
