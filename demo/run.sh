#!/usr/bin/env bash
# Run the small study in a scratch copy of this project. Usage: demo/run.sh FOLDER
set -euo pipefail

scratch=$1
python demo/scratch.py "$scratch"
cd "$scratch"

dvc repro --quiet
echo
dvc metrics show
echo
PYTHONPATH=src python -c "from ablation.params import load_params; print(load_params().dataset.note)"
echo "The study as a story, for a browser:"
echo "file://$PWD/plots/report.html"
echo "The curves and pictures:"
dvc plots show
