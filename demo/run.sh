#!/usr/bin/env bash
# Run the small study in a scratch copy of this repository. Usage: demo/run.sh FOLDER
set -euo pipefail

scratch=$1
bash demo/copy.sh "$scratch"
cd "$scratch"

dvc repro --quiet
dvc metrics show metrics/{mlp,cnn}/{baseline,scheduler,activation,optimizer,batchnorm,regularization,dropout}.json
dvc metrics show metrics/{mlp,cnn}/leave_one_out.json
dvc metrics show metrics/{mlp,cnn}/test.json
dvc metrics show metrics/comparison.json
python - <<'PYTHON'
import json
from pathlib import Path

print("\nOn the test set of `glyphs`, a stand-in drawn from fonts:")
for model in ("mlp", "cnn"):
    test = json.loads(Path(f"metrics/{model}/test.json").read_text())
    low, high = 100 * test["accuracy_low"], 100 * test["accuracy_high"]
    print(f"  {model}  {100 * test['accuracy']:.2f} %  (95 % interval {low:.2f} to {high:.2f})")
PYTHON
echo
echo "The curves and pictures, for a browser:"
dvc plots show
