#!/usr/bin/env bash
# Run the small study in a scratch copy of this project. Usage: demo/run.sh FOLDER
set -euo pipefail

scratch=$1
python demo/scratch.py "$scratch"
cd "$scratch"

dvc repro --quiet dvc.yaml search/dvc.yaml
cat <<END

What to do next:
  the report             file://$PWD/plots/report.html
  the search, beside it  file://$PWD/search/report.html
  its curves, by DVC     cd $scratch && dvc plots show
  every number           cd $scratch && dvc metrics show
  on real characters     README.md, "Run it on real characters"
END
