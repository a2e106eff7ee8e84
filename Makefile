# Two commands do everything on a fresh machine: make quickstart, make test.

PYTHON ?= python3
VENV := .venv
PACKAGES := scalecore scalecore-torch scalecore-patchtst scalecore-optuna scalecore-hwmon scalecore-market \
            scalecore-analysis scalecore-promotion scalecore-trackers
TOOLS := hypothesis jsonschema pyte pytest pytest-xdist ruff scikit-learn

.PHONY: help install quickstart quick test clean

help:
	@echo "make quickstart   create .venv, install all packages, run examples/quickstart.yaml to its end"
	@echo "make quick        the tests that start no process and import no torch, in .venv: under a minute"
	@echo "make test         run tox: every package's tests in an environment of its own, integration, lint, types"
	@echo "make install      only create .venv and install all packages, editable"
	@echo "make clean        remove what these commands made, but no study"

# pip runs again only when a package's metadata or the pins change; sources are installed editable.
# The schema for editors depends on the installed plugins, so it is made here and not kept in the repository.
$(VENV)/.installed: constraints.txt $(PACKAGES:%=packages/%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt $(PACKAGES:%=--editable packages/%) $(TOOLS)
	$(VENV)/bin/scalecore plugins --schema --output examples/scalecore.schema.json
	@touch $@

install: $(VENV)/.installed

quickstart: install
	$(VENV)/bin/scalecore plan examples/quickstart.yaml
	$(VENV)/bin/scalecore run examples/quickstart.yaml

# The hash seed gives tests that are parametrised by sets the same names in both processes.
quick: install
	PYTHONHASHSEED=0 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --quick --quiet -r fE --numprocesses 2 \
	    --dist worksteal tests/core tests/optuna tests/hwmon tests/market tests/analysis tests/promotion

$(VENV)-tox/.installed: constraints.txt
	$(PYTHON) -m venv $(VENV)-tox
	$(VENV)-tox/bin/python -m pip install --quiet --constraint constraints.txt tox
	@touch $@

test: $(VENV)-tox/.installed
	$(VENV)-tox/bin/tox run-parallel --parallel 2 --parallel-no-spinner

clean:
	rm -rf $(VENV) $(VENV)-tox .tox .pytest_cache .mypy_cache .ruff_cache .hypothesis packages/*/dist site
