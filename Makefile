# make run    from a clone to the protocol's table on real digits
# make test   linter, type check, tests
# make bench  the benchmarks, and docs/benchmarks.md from them (DATA=ROOT: also for tasks with official files)
# make docs   the documentation site
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test bench docs clean

run: .venv/installed
	$(BIN)/nondet run digits

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pytest -n auto --maxprocesses=4 --dist loadfile -p no:benchmark

bench: .venv/installed-dev
	$(BIN)/pytest benchmarks --benchmark-only --benchmark-json=.benchmarks.json
	$(BIN)/python benchmarks/page.py .benchmarks.json > docs/benchmarks.md
	$(BIN)/python benchmarks/cost.py $(if $(DATA),--data $(DATA)) >> docs/benchmarks.md
	$(BIN)/python benchmarks/cpu.py $(if $(DATA),--data $(DATA)) >> docs/benchmarks.md
	$(BIN)/python benchmarks/tta.py >> docs/benchmarks.md
	$(BIN)/python benchmarks/measure.py >> docs/benchmarks.md
	$(BIN)/python benchmarks/scale.py 1000 10000 >> docs/benchmarks.md
	$(BIN)/python benchmarks/bookkeeping.py 100 1000 10000 --epochs 50 >> docs/benchmarks.md
	$(BIN)/python benchmarks/scripts.py >> docs/benchmarks.md

docs: .venv/installed-dev
	$(BIN)/mkdocs build --strict

.venv/pip:
	$(PYTHON) -c 'import sys; sys.exit("nondet needs Python 3.11 or newer (got %d.%d); try: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	touch $@

.venv/installed: pyproject.toml | .venv/pip
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --group dev --group docs
	touch $@

clean:
	rm -rf .venv site studies .pytest_cache .ruff_cache .hypothesis .benchmarks.json
