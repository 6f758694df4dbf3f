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
echo "All of this is made from glyphs: characters drawn from fonts, a stand-in for handwriting."
echo "The curves and pictures, for a browser:"
dvc plots show
