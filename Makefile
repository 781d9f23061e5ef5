# `make lab` opens the workbook, `make test` proves that it holds; both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .bench-env
SITE := import sysconfig; print(sysconfig.get_path("purelib"))

.PHONY: lab test hard run seeds install notebooks bench bench-peers lint clean

lab: install
	$(BIN)/course lab

# Three at a time, a file each: while one waits for a browser, two compute. In the order
# given, which starts the longest first.
test: install
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The same tests of crashes, crowds, bad input, long use and planted regressions, with
# more of each; an hour or two.
hard: install
	HARD=1 $(BIN)/python -m pytest -o addopts="-ra" tests/hardness tests/mutants \
	  tests/test_caches.py tests/notebooks/test_papermill.py tests/browser/test_injection.py

run: install
	$(BIN)/course run

# Do the lessons hold by luck? Every chapter with five seeds, as the baselines have;
# stopped, the next call goes on; about an hour.
seeds: install
	$(BIN)/course run --seeds 0-4 --out runs/five --resume
	$(BIN)/course compare runs/five

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

# Ratios of things timed in turns, on a machine that does nothing else; half an hour, most
# of it for the sliders and the whole workbook: make bench SKIP="sliders run". Without its
# peers the table is made all the same.
bench: install
	-$(MAKE) bench-peers
	$(BIN)/python benchmarks/table.py $(if $(SKIP),--skip $(SKIP))

bench-peers: $(PEERS)/.installed

# Its own packages come first, then the workbook's: torch is not installed twice.
$(PEERS)/.installed: benchmarks/requirements.txt | $(STAMP)
	rm -rf $(PEERS)
	$(BIN)/python -m venv $(PEERS)
	printf '%s\n' "$$($(BIN)/python -c '$(SITE)')" "$(CURDIR)" > \
	  "$$($(PEERS)/bin/python -c '$(SITE)')/outer.pth"
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check course tests benchmarks deploy

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache
