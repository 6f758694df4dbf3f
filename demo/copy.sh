#!/usr/bin/env bash
# Make a scratch copy of this repository that holds the small study. Usage: demo/copy.sh FOLDER
set -euo pipefail

scratch=$1
rm -rf "$scratch"
git clone --quiet . "$scratch"
# What is not committed yet takes part as well.
comm -z -23 <(git ls-files --cached --others --exclude-standard -z | sort -z) <(git ls-files --deleted -z | sort -z) |
    xargs -0 cp --parents --target-directory "$scratch"
cp demo/params.yaml "$scratch/params.yaml"
