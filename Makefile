# What a newcomer runs. Everything is made inside this checkout (.venv, .tenure) and in the user's cache directory.
# Nothing but python3 (3.11 or newer), git and the usual small programs is needed.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := contracts services samples deploy tests

# Workers for the tests: with real servers they wait half of the time, so three keep two cores busy.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo up down status test check lint bench faults lock clean local dev schemas docs

help:
	@echo "make demo    play the sample company on real Kafka and PostgreSQL, and see what comes out"
	@echo "make up      the same system without the sample company; make down stops either"
	@echo "make status  whether everything flows"
	@echo "make check   lint, types, import rules and unit tests, within a minute"
	@echo "make test    everything that CI runs"
	@echo "make bench   the speed figures of docs/guarantees.md"
	@echo "make faults  seeded histories while everything is broken; SEEDS=1-20 MINUTES=60, PLANTED=1 for planted bugs"

local:
	@$(PYTHON) deploy/bootstrap.py local

dev:
	@$(PYTHON) deploy/bootstrap.py dev

demo: local
	@$(BIN)/tenure demo

up: local
	@$(BIN)/tenure up

down:
	@test ! -x $(BIN)/tenure || $(BIN)/tenure down

status: local
	@$(BIN)/tenure status

lint: dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/squawk --config .squawk.toml services/*/migrations/*.sql

check: lint
	$(BIN)/python -m pytest tests/unit tests/contracts -q -n $(WORKERS)

# A module stays with one worker. In the order of the folders, because by the number of their tests the longest modules,
# which have few, came last, and one worker was busy long after the others.
test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# What the bench compares with has an environment of its own; where it cannot be had, the bench says so and goes on.
# Seeds (a range, or how many) and minutes of the long run; PLANTED=1 plants known bugs instead, which must be caught.
SEEDS ?= 20
MINUTES ?= 60

faults: dev
	@$(BIN)/python -m tests.faults --seeds $(SEEDS) --minutes $(MINUTES) $(if $(PLANTED),--planted)

bench: dev
	@$(PYTHON) deploy/bootstrap.py bench || true
	@$(BIN)/python -m tests.bench

# After a change of the dependencies in pyproject.toml: the same versions where they still fit.
# Renews the JSON Schemas and the ids in the golden examples; refuses what would break a reader or an old record.
schemas: dev
	@$(BIN)/python -m tests.contracts.examples
	@$(BIN)/python -m tests.contracts.compatibility

# Renews the tables in documents that say what the code says, and the OpenAPI and AsyncAPI documents in docs/api.
docs: dev
	@$(BIN)/python -m tests.unit.docs.tables
	@$(BIN)/python -m tests.unit.docs.apis

lock: dev
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --group dev \
	  pyproject.toml -o requirements/dev.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --group local \
	  pyproject.toml -c requirements/dev.lock -o requirements/local.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --group pyproject.toml:bench \
	  -o requirements/bench.lock

clean:
	@test ! -x $(BIN)/tenure || $(BIN)/tenure down --purge
	rm -rf .venv .venv-bench .tenure .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
