"""The study in git: which of its stages have run with the committed code."""

from pathlib import Path

import pytest

from ablation.base.checked import read_yaml
from ablation.params import load_params

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "params.yaml")
# A study that takes longer than a session is committed while it is under way: `dvc.lock` then holds
# the stages that have run, and all of them are consistent. Tests of the others are skipped.
HAVE_RUN = read_yaml(ROOT / "dvc.lock")["stages"].keys()


def when_run(*stages: str) -> pytest.MarkDecorator:
    """Skip a test if any of these stages has not run yet, for any family that it runs for."""
    missing = [name for name in stages if not _has_run(name)]
    return pytest.mark.skipif(
        bool(missing), reason=f"the study is under way: {', '.join(missing)} not yet run"
    )


def _has_run(stage: str) -> bool:
    return stage in HAVE_RUN or all(f"{stage}@{model}" in HAVE_RUN for model in PARAMS.families)
