# Everything sets itself up: a machine needs Python 3.11 or later with its venv module, make, and a package index.
# Requirements are pinned by hash; `make lock` renews the pins after a change to pyproject.toml or requirements/*.in.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

BIN     := $(VENV)/bin
STAMPS  := $(VENV)/.stamps
GROUPS  := runtime test check docs bench
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
# Wheels only: a source distribution would fetch its own, unpinned, build requirements.
PINNED  := $(INSTALL) --require-hashes --only-binary :all: --requirement

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench bench-full bench-check soak docs faults lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  ARGS=... is handed on, as in: make test ARGS='-k gap -x'"

demo: $(STAMPS)/runtime ## watch a made-up agent being recorded
	@$(BIN)/sonde demo $(ARGS)

test: $(STAMPS)/test ## run the test suite
	@$(BIN)/python -m pytest $(ARGS)

faults: $(STAMPS)/test ## run everything, the full-length fault and property tests too; writes docs/guarantees.md
	@SONDE_TEST_LONG=1 $(BIN)/python -m pytest -m "" --write-fault-report $(ARGS)

# With the test requirements, so that mypy always sees the same packages.
check: $(STAMPS)/check $(STAMPS)/test ## lint, format check, types, import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(STAMPS)/bench ## measure, beside the peers; some 8 minutes
	@$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(STAMPS)/bench ## the same with 10 M events in memory and 30 M in the store
	@$(BIN)/python -m benchmarks --full $(ARGS)

bench-check: $(STAMPS)/bench ## does the last `make bench` keep the budgets? ARGS=--fresh measures first
	@$(BIN)/python -m benchmarks.check $(ARGS)

soak: $(STAMPS)/bench ## half an hour at 5,000 events/s with retention on: does anything grow? ARGS='--minutes 3'
	@$(BIN)/python -m benchmarks.soaking $(ARGS)

docs: $(STAMPS)/docs ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

clean: ## remove what was built; .venv stays
	@rm -rf site dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- the environment -------------------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sonde needs Python 3.11 or later, and '$(PYTHON)' isn't one: install it, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks the venv module: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/uv: requirements/bootstrap.txt | $(BIN)/python
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all: -r $<
	@mkdir -p $(STAMPS) && touch $@

# The project itself, editable, built with the pinned tools and nothing fetched.
$(STAMPS)/project: pyproject.toml requirements/build.txt $(STAMPS)/uv
	$(PINNED) requirements/build.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(GROUPS:%=$(STAMPS)/%): $(STAMPS)/%: requirements/%.txt $(STAMPS)/project
	$(PINNED) $<
	@touch $@

# --- the pins --------------------------------------------------------------------------------------------------------

# Every group is pinned within the versions of the one before, since all may share one environment. A present .txt keeps
# its versions; `make lock ARGS=--upgrade` moves them.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-emit-find-links $(ARGS)
REQ := requirements

lock: $(STAMPS)/uv ## renew the hashed pins in requirements/
	$(COMPILE) pyproject.toml --all-extras $(REQ)/test.in -o $(REQ)/test.txt
	$(COMPILE) pyproject.toml --extra prices -c $(REQ)/test.txt -o $(REQ)/runtime.txt
	$(COMPILE) $(REQ)/build.in -c $(REQ)/test.txt -o $(REQ)/build.txt
	$(COMPILE) $(REQ)/check.in -c $(REQ)/test.txt -c $(REQ)/build.txt -o $(REQ)/check.txt
	$(COMPILE) $(REQ)/docs.in -c $(REQ)/test.txt -c $(REQ)/build.txt -c $(REQ)/check.txt -o $(REQ)/docs.txt
	$(COMPILE) pyproject.toml $(REQ)/bench.in -c $(REQ)/test.txt -c $(REQ)/docs.txt -o $(REQ)/bench.txt
	$(COMPILE) $(REQ)/bootstrap.in -o $(REQ)/bootstrap.txt
	@! grep -n '://' $(REQ)/*.txt
