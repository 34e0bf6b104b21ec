# One target per thing a person does; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
OPENFL_VENV ?= .venv-openfl
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(VENV)/bin/
FLEET_COMMAND := $(RUN)python -m fleet
COMPILE := pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	--python-version 3.11 --custom-compile-command "make lock" pyproject.toml

STUBS := federation/rpc/gen
GENERATE = PATH="$(VENV)/proto/bin:$$PATH" $(VENV)/proto/bin/python -W ignore -m grpc_tools.protoc \
	-I $(STUBS)=proto/federation/v1 --python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) \
	--mypy_grpc_out=quiet:$(1) $(STUBS)/exchange.proto

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet uv==0.13.9

$(VENV)/.synced: locks/dev.txt pyproject.toml | $(filter .tools/%,$(UV))
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(VENV) --require-hashes locks/dev.txt
	$(UV) pip install --quiet --python $(VENV) --no-deps --editable .
	touch $@

.PHONY: venv
venv: $(VENV)/.synced ## the development environment, as locked

.PHONY: lock
lock: | $(filter .tools/%,$(UV)) ## update the locked dependencies in locks/
	$(UV) $(COMPILE) --extra hub --group dev --output-file locks/dev.txt
	$(UV) $(COMPILE) --output-file locks/agent.txt
	$(UV) $(COMPILE) --extra hub --output-file locks/hub.txt
	$(UV) $(COMPILE) --extra openfl --output-file locks/openfl.txt
	$(UV) $(COMPILE) --extra openfl --group test --constraints locks/openfl.txt --output-file locks/openfl-test.txt
	$(UV) $(subst pyproject.toml,--group proto,$(COMPILE)) --output-file locks/proto.txt

$(VENV)/proto/.synced: locks/proto.txt | $(VENV)/.synced
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)/proto
	$(UV) pip sync --quiet --python $(VENV)/proto --require-hashes locks/proto.txt
	touch $@

.PHONY: proto
proto: $(VENV)/proto/.synced ## regenerate the stubs of the exchange
	$(call GENERATE,.)

.PHONY: proto-drift
proto-drift: $(VENV)/proto/.synced ## check that the committed stubs match the .proto
	rm -rf $(VENV)/proto/drift && mkdir -p $(VENV)/proto/drift
	$(call GENERATE,$(VENV)/proto/drift)
	@diff --recursive --unified --exclude=__init__.py --exclude=__pycache__ $(VENV)/proto/drift/$(STUBS) $(STUBS) \
		|| { echo "the stubs differ from the .proto: run make proto" >&2; exit 1; }

.PHONY: reference
reference: venv ## regenerate docs/reference and the CRDs from the types
	$(RUN)python -m reference write

.PHONY: reference-drift
reference-drift: venv ## check that docs/reference and the CRDs match the types
	$(RUN)python -m reference check

.PHONY: check
check: venv proto-drift reference-drift prose ## formatting, lint, types, layers, generated code and pages, English
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports --no-logo

.tools/vale: tools/go.mod tools/go.sum
	CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off GOBIN="$(CURDIR)/.tools" \
		go -C tools install -trimpath -ldflags "-s -w" tool
	touch $@

.PHONY: prose
prose: .tools/vale ## check the English of the pages, docstrings and comments
	@git ls-files '*.md' '*.py' '*.proto' | xargs .tools/vale --output=line

.PHONY: fix
fix: venv ## let ruff fix what it can
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

.PHONY: test-unit
test-unit: venv ## the tests that need neither root nor a fleet
	$(RUN)pytest -m "not fleet and not apiserver and not openfl"

$(OPENFL_VENV)/.synced: locks/openfl-test.txt pyproject.toml | $(filter .tools/%,$(UV))
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(OPENFL_VENV)
	$(UV) pip sync --quiet --python $(OPENFL_VENV) --require-hashes locks/openfl-test.txt
	touch $@

.PHONY: test-openfl
test-openfl: $(OPENFL_VENV)/.synced ## the collaborator on OpenFL itself, in an environment of its own
	$(OPENFL_VENV)/bin/pytest -m openfl tests/contract/openfl

.PHONY: test
test: check test-openfl images ## everything, on a fleet that comes up and goes down with it
	$(RUN)pytest -m "not openfl" --durations=10

.PHONY: fleet-packages
fleet-packages: venv ## install, as root and by name, the Debian packages that a fleet needs
	@missing="$$($(FLEET_COMMAND) packages)"; \
	if [ "$${FLEET:-}" != existing ] && [ -n "$$missing" ]; then \
		echo "installing Debian packages:" $$missing; \
		apt-get update --quiet --quiet; \
		DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $$missing; \
	fi

.PHONY: fleet-up
fleet-up: fleet-packages ## a hub and two spokes on this machine (SPOKES=1 to 4)
	$(FLEET_COMMAND) up --spokes $(or $(SPOKES),2)

.PHONY: fleet-down
fleet-down: venv ## take the fleet down and leave nothing but the cache
	$(FLEET_COMMAND) down

.PHONY: fleet-status
fleet-status: venv ## each cluster's node, membership, pods, memory and CPU
	$(FLEET_COMMAND) status

.PHONY: images
images: fleet-packages ## build the fleet's programs and images and the product's own, and no more
	@if [ "$${FLEET:-}" != existing ]; then $(FLEET_COMMAND) build && $(RUN)python -m demo images; fi

.PHONY: install
install: venv ## install the add-on on the fleet that is up, and enable it on its spokes
	$(RUN)python -m demo install
	$(RUN)python -m demo enable

.PHONY: demo
demo: $(OPENFL_VENV)/.synced fleet-packages ## the main job on a fleet of its own: from one resource to a judged model
	$(RUN)python -m demo run

.PHONY: demo-down
demo-down: fleet-down ## take the demo's fleet down

.PHONY: bench
bench: venv $(OPENFL_VENV)/.synced ## what aggregators cost, idle runs, a thousand add-ons; where a fleet is up, enabling and reactions
	$(RUN)python -m bench.exchange --openfl $(OPENFL_VENV)/bin/python
	$(RUN)python -m bench.idle_runs
	$(RUN)python -m bench.thousand
	@if $(FLEET_COMMAND) status >/dev/null 2>&1; then $(RUN)python -m bench.enabling && $(RUN)python -m bench.reactions; fi
