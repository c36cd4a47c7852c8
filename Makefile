# Everything runs in .venv, which `make` creates; each target can be run again and is then quick.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check install wheel clean

demo: $(STAMP)  ## learn λ for three properties, search it with a grid and TPE, write one report
	$(BIN)/gate compare --tasks DS,HV,BP --at-least 3 --out runs/demo --resume
	@echo "report: $(CURDIR)/runs/demo/report.html"

test: $(STAMP)  ## all tests
	$(BIN)/pytest -n 2 --dist worksteal

check: $(STAMP)  ## format, lint, layers, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[gate,dev]'
	@touch $@

wheel: $(STAMP)  ## dist/*.whl
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv dist runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
