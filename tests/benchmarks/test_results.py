import json
from pathlib import Path

from results import keep, machine


def test_a_benchmark_replaces_only_its_own_section(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    keep("throughput-cuda", {"rows": [1]}, path)
    keep("precision", {"rows": [2]}, path)
    keep("precision", {"rows": [3]}, path)
    assert json.loads(path.read_text()) == {
        "precision": {"rows": [3]},
        "throughput-cuda": {"rows": [1]},
    }


def test_machine_names_processor_versions_and_date() -> None:
    assert set(machine("cpu")) == {"device", "cpu", "cores", "python", "torch", "date"}
