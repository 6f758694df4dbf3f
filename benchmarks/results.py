"""The file of benchmark results: results.json, one section per benchmark."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ablation.base.files import write_bytes
from ablation.data.datasets import DATASETS
from ablation.params import Params
from ablation.processes.cores import cores
from ablation.raw.loading import load_dataset
from ablation.run.hardware import processor_name
from ablation.study.inputs import TRAINING_CHARACTERS

RESULTS = Path(__file__).with_name("results.json")


def keep(section: str, content: dict[str, Any], path: Path = RESULTS) -> None:
    """Replace one section of the results; the others are unchanged.

    Args:
        section: name of the benchmark.
        content: its results, JSON-like.
        path: the file, created if it is missing.
    """
    known = json.loads(path.read_text()) if path.exists() else {}
    sections = dict(sorted({**known, section: content}.items()))
    write_bytes((json.dumps(sections, indent=2) + "\n").encode(), path)


def machine(device: str) -> dict[str, str | int]:
    """Hardware, versions and date of a measurement; each section has its own."""
    names = {"cpu": processor_name()}
    if device == "cuda":
        names["gpu"] = torch.cuda.get_device_name()
    return {
        "device": device,
        **names,
        "cores": cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def find_characters(params: Params, folder: Path) -> tuple[Path, str]:
    """The prepared training characters, or if there are none, glyphs, written to `folder`.

    Returns:
        The file, and a description of its content.
    """
    if TRAINING_CHARACTERS.exists():
        return TRAINING_CHARACTERS, params.data.dataset
    name, stand_in = next((name, dataset) for name, dataset in DATASETS.items() if dataset.note)
    drawn = folder / "stand_in.npz"
    load_dataset(name, stand_in, folder)[0].save(drawn)
    return drawn, name
