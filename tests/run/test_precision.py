from pathlib import Path

import pytest

from ablation.base.checked import ParamsError, read_yaml
from ablation.run import precision
from ablation.run.hardware import Hardware
from ablation.run.precision import RECORD, hardware_for, record_precision


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "cache"))
    return tmp_path


def let_faster_be(faster: str, monkeypatch: pytest.MonkeyPatch, speedup: float = 0.9) -> None:
    """Simulate another machine's benchmark; `speedup` is that of bf16 if float32 is faster."""
    measured = 2.0 if faster == "bf16" else speedup
    for module in ("hardware", "precision"):
        monkeypatch.setattr(f"ablation.run.{module}.bf16_speedup", lambda: measured)


@pytest.mark.parametrize("faster", ["bf16", "float32"])
def test_auto_is_decided_and_recorded(faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    let_faster_be(faster, monkeypatch)
    record_precision("auto", "cpu")
    record = read_yaml(RECORD)
    assert (record["asked"], record["precision"]) == ("auto", faster)
    assert record["decided_on"] == Hardware.choose("cpu", "float32", 1).computer.name
    assert RECORD.read_text().startswith("# What training.precision")


def test_the_precision_is_decided_once_and_other_machines_follow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_faster_be("bf16", monkeypatch)
    record_precision("auto", "cpu")
    decided = RECORD.read_text()
    let_faster_be("float32", monkeypatch)
    record_precision("auto", "cpu")
    assert RECORD.read_text() == decided
    hardware, warning = hardware_for("auto", "cpu", 3)
    assert (hardware.precision, hardware.workers) == ("bf16", 3)
    assert "data/precision.yaml: this study uses bf16" in warning
    assert "on this machine float32 is faster" in warning


def test_a_machine_that_emulates_bf16_runs_whole_stages_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_faster_be("bf16", monkeypatch)
    record_precision("auto", "cpu")
    let_faster_be("float32", monkeypatch, speedup=0.1)
    hardware, warning = hardware_for("auto", "cpu", 1)
    assert hardware.precision == "float32"
    assert warning.endswith("on this machine float32 is faster by far, so this stage uses it")
    assert read_yaml(RECORD)["precision"] == "bf16"


def test_a_machine_that_agrees_is_not_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    let_faster_be("bf16", monkeypatch)
    record_precision("auto", "cpu")
    assert hardware_for("auto", "cpu", 1) == (Hardware("cpu", True, 1), "")


def test_a_changed_setting_is_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    let_faster_be("bf16", monkeypatch)
    record_precision("auto", "cpu")
    record_precision("float32", "cpu")
    assert read_yaml(RECORD)["precision"] == "float32"
    assert hardware_for("float32", "cpu", 1) == (Hardware("cpu", False, 1), "")


def test_without_a_record_each_machine_decides_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_faster_be("float32", monkeypatch)
    assert hardware_for("auto", "cpu", 1) == (Hardware("cpu", False, 1), "")
    assert not precision.RECORD.exists()


def test_an_invalid_record_is_reported() -> None:
    RECORD.parent.mkdir()
    RECORD.write_text("asked: auto\nprecision: int8\ndecided_on: nobody\n")
    with pytest.raises(ParamsError, match=r"precision: 'int8' is not one of bf16, float32"):
        hardware_for("auto", "cpu", 1)
