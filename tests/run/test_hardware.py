import dataclasses
import platform
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from ablation.data.splits import Repeat
from ablation.processes.cores import cores
from ablation.run import hardware, result_cache
from ablation.run.hardware import Hardware, HardwareError, processes_on_gpu
from ablation.trial import replay
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.recipe import Elastic, Ema, Recipe, Regularization
from ablation.trial.training import Part, prepare_process, train
from ablation.trial.trials import Curves

TrainOn = Callable[..., list[Curves]]


@pytest.fixture(autouse=True)
def fresh_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_auto_uses_a_gpu_if_there_is_one() -> None:
    found = "cuda" if torch.cuda.is_available() else "cpu"
    assert Hardware.choose("auto", "float32", 1).device == found


def test_auto_uses_one_worker_per_available_core() -> None:
    assert Hardware.choose("cpu", "float32", "auto").workers == cores()
    assert Hardware.choose("cpu", "float32", 7).workers == 7


def test_several_processes_share_a_gpu_if_mps_is_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert processes_on_gpu() == 1
    (tmp_path / "control").touch()
    assert processes_on_gpu() == 4


def test_cuda_without_a_gpu_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(HardwareError, match=r"training\.device: 'cuda', .* use auto or cpu"):
        Hardware.choose("cuda", "auto", "auto")


@pytest.mark.parametrize(("precision", "bf16"), [("bf16", True), ("float32", False)])
def test_an_explicit_precision_is_not_benchmarked(
    precision: str, bf16: bool, fresh_memory: Path
) -> None:
    assert Hardware.choose("cpu", precision, 1).bf16 == bf16
    assert not fresh_memory.exists()


def measurement() -> Path:
    """The only file of a new cache."""
    (path,) = result_cache.folder().iterdir()
    return path


def test_auto_benchmarks_which_precision_is_faster(fresh_memory: Path) -> None:
    chosen = Hardware.choose("cpu", "auto", 1).bf16
    assert chosen == (float(result_cache.get(measurement().name) or "nan") > 1)


@pytest.mark.parametrize("speedup", [b"0.5", b"2.0"])
def test_a_machine_is_benchmarked_once(speedup: bytes) -> None:
    Hardware.choose("cpu", "auto", 1)
    result_cache.put(measurement().name, speedup)
    assert Hardware.choose("cpu", "auto", 1).bf16 == (float(speedup) > 1)


def test_each_machine_is_benchmarked_separately(monkeypatch: pytest.MonkeyPatch) -> None:
    Hardware.choose("cpu", "auto", 1)
    result_cache.put(measurement().name, b"0.001")
    monkeypatch.setattr(platform, "node", lambda: "another")
    Hardware.choose("cpu", "auto", 1)
    assert len(list(result_cache.folder().iterdir())) == 2


def test_a_corrupt_benchmark_result_is_reported_and_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Hardware.choose("cpu", "auto", 1)
    measurement().write_text("{")
    Hardware.choose("cpu", "auto", 1)
    assert "corrupt" in caplog.text
    assert result_cache.get(measurement().name)


def test_the_arithmetic_does_not_depend_on_the_number_of_workers() -> None:
    one, two = (Hardware("cpu", True, workers) for workers in (1, 2))
    assert one.arithmetic == two.arithmetic
    assert one.arithmetic != dataclasses.replace(one, bf16=False).arithmetic


@pytest.mark.parametrize(
    ("field", "value"),
    [("flags", "fpu sse4_2 avx2 fma"), ("model", "999"), ("vendor_id", "Another")],
)
def test_the_arithmetic_depends_on_the_processor(
    field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Hardware("cpu", True, 1).arithmetic
    other = {**hardware._processor(), field: value}
    monkeypatch.setattr(hardware, "_processor", lambda: other)
    after = Hardware("cpu", True, 1).arithmetic
    assert {name for name in before if after[name] != before[name]} == {"computer"}


def test_the_arithmetic_does_not_depend_on_unrelated_cpu_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Hardware("cpu", True, 1).arithmetic
    flags = f"a_new_flag {hardware._processor().get('flags', '')}"
    other = {**hardware._processor(), "flags": flags, "cpu MHz": "1"}
    monkeypatch.setattr(hardware, "_processor", lambda: other)
    assert Hardware("cpu", True, 1).arithmetic == before


@pytest.mark.parametrize("library", ["torch", "numpy", "scikit-learn"])
def test_the_arithmetic_depends_on_library_versions(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Hardware("cpu", True, 1).arithmetic
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0" if name == library else real(name))
    monkeypatch.setattr(hardware, "libraries", hardware.libraries.__wrapped__)  # not cached
    assert Hardware("cpu", True, 1).arithmetic == before | {library: "0"} != before


@pytest.fixture
def train_on(
    mlp: MlpSpec, cnn: CnnSpec, recipe: Recipe, repeats: list[Repeat], parts: tuple[Part, Part]
) -> TrainOn:
    """Train both families on a device, in bf16 or float32, with some settings of the recipe."""
    prepare_process()

    def curves(device: str, bf16: bool, **settings: Any) -> list[Curves]:
        changed = recipe
        for technique, setting in settings.items():
            changed = changed.having(technique, setting)
        moved = [Part(part.images.to(device), part.labels.to(device)) for part in parts]
        return [
            train(spec, changed, repeats[0], *moved, classes=4, batch_size=25, bf16=bf16).curves
            for spec in (mlp, cnn)
        ]

    return curves


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
# Settings that do something additional in every batch.
EVERYTHING = {
    "dropout": 0.2,
    "augmentation": Elastic(name="elastic"),
    "smoothing": 0.1,
    "averaging": Ema(name="ema"),
    "regularization": Regularization(l1=1e-5, l2=1e-4),
}


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("bf16", [False, True])
def test_a_gpu_trains_like_the_cpu_up_to_rounding(bf16: bool, train_on: TrainOn) -> None:
    for cpu, cuda in zip(train_on("cpu", bf16), train_on("cuda", bf16), strict=True):
        assert cuda.validation_accuracy[-1] == pytest.approx(cpu.validation_accuracy[-1], abs=0.03)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_training_on_a_gpu_is_deterministic(settings: dict[str, Any], train_on: TrainOn) -> None:
    assert train_on("cuda", True, **settings) == train_on("cuda", True, **settings)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_a_replayed_training_equals_the_recorded_one(
    settings: dict[str, Any], train_on: TrainOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = train_on("cuda", False, **settings)
    monkeypatch.setattr(replay, "WARM_UP", 10**6)  # never captures a graph
    assert replayed == train_on("cuda", False, **settings)


@pytest.mark.gpu
@needs_gpu
def test_nothing_synchronises_with_the_gpu_during_an_epoch(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: tuple[Part, Part]
) -> None:
    moved = [Part(part.images.cuda(), part.labels.cuda()) for part in parts]

    def waits(batch_size: int) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(mlp, recipe, repeats[0], *moved, classes=4, batch_size=batch_size, bf16=True)
        return len(caught)

    waits(25)  # the first run loads libraries and benchmarks kernels
    torch.cuda.set_sync_debug_mode("warn")
    try:
        assert waits(25) == waits(100) > 0
    finally:
        torch.cuda.set_sync_debug_mode("default")
