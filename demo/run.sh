#!/usr/bin/env bash
# Run the small study in a scratch copy of this project. Usage: demo/run.sh FOLDER
set -euo pipefail

scratch=$1
project=$PWD
python demo/scratch.py "$scratch"
cd "$scratch"

dvc repro --quiet dvc.yaml search/dvc.yaml
cat <<END

Results:
  report of the study    file://$PWD/plots/report.html
  report of the search   file://$PWD/search/report.html
More, after: source $project/.venv/bin/activate && cd $PWD
  dvc plots show         the learning curves
  dvc metrics show       every number
Real characters: README.md, "Run it on real characters"
END
