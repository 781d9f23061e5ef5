# `make lab` opens the workbook, `make test` proves that it holds; both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: lab test run seeds install notebooks bench lint clean

lab: install
	$(BIN)/course lab

# Three at a time, a file each: while one waits for a browser, two compute. In the order
# given, which starts the longest first.
test: install
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

run: install
	$(BIN)/course run

# Do the lessons hold by luck? Every chapter with four other seeds; about 40 minutes.
seeds: install
	for seed in 1 2 3 4; do \
	  $(BIN)/course run --seed $$seed --out runs/seed-$$seed || exit 1; done

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $(STAMP)

# Execute the chapters in place, in the form in which they are committed.
notebooks: install
	$(BIN)/python tests/notebooks/canonical.py

# Ratios of things timed in turns, on a machine that does nothing else; about 5 minutes.
bench: install
	$(BIN)/python benchmarks/speed.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check course tests benchmarks deploy

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache
