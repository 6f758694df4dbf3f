# Needs Python 3.11 or newer, git and make; everything else is installed into `.venv`.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ABLATION_CACHE ?= $(CURDIR)/.cache/trials

DEMO := .cache/demo
# worksteal: a process without tests left takes half of another's remaining ones.
PYTEST := pytest -n 2 --dist worksteal
# Only files whose hashes are in the lock, including setuptools, for packages without a wheel.
PIP := .venv/bin/pip install --disable-pip-version-check --no-build-isolation --require-hashes

.PHONY: demo test test-deep test-all test-faults lint bench docs screenshots install lock clean

demo: install ## the whole pipeline on characters drawn from fonts, in a scratch copy
	@bash demo/run.sh $(DEMO)

test: lint ## the linters, the type checker and every test but those of test-deep and test-faults
	$(PYTEST)

test-deep: install ## comparisons of whole studies, benchmarks, ten times as many random inputs
	$(PYTEST) -m 'deep or hypothesis' --hypothesis-profile deep

test-all: lint ## test and test-deep in one session, as CI runs them
	$(PYTEST) -m 'not faults' --hypothesis-profile deep

test-faults: install ## a study killed twenty times, and experiments in a copy, give the same bytes
	pytest -m faults

lint: install ## the linters of code and pages, and the type checker
	ruff check .
	ruff format --check .
	mypy
	python docs/lint.py

bench: install ## speed, compared with a plain loop and the machine's ceiling; a study from scratch
	python benchmarks/run.py

docs: install ## update the tables in README.md and docs/ from the study's files
	python docs/tables.py

screenshots: install ## update the pages' screenshots; needs chromium
	python docs/screenshots.py

install: .venv/installed ## the virtual environment, with exact versions

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is Python %d.%d; this needs 3.11 or newer: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Installing exact versions into .venv: 3 GB to download, 6 GB on disk, most of it torch for GPUs."
	@echo "After the last download, pip unpacks for a minute or two without any output."
	$(PYTHON) -m venv .venv
	sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock | $(PIP) --requirement /dev/stdin
	$(PIP) --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## update the hashes in requirements.lock; needs uv
	uv pip compile requirements.lock --quiet --output-file requirements.lock --generate-hashes \
		--no-deps --universal --python-version 3.11 --no-header --no-annotate

clean: ## delete the environment and all cached trials
	rm -rf .venv .cache
