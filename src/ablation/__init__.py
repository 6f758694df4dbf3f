"""A staged ablation of training techniques on EMNIST."""

import sys
from importlib.util import find_spec

# `dvc` may be another environment's, whose python then runs the stages: a page of traceback.
if missing := [name for name in ("pydantic", "rich", "safetensors") if find_spec(name) is None]:
    sys.exit(
        f"error: {sys.executable} has no {missing[0]}, so it is not this project's environment; "
        "run `make install` once, then `source .venv/bin/activate`, and try again"
    )
