# Everything a person or CI runs. Needs Python 3.11+ and make; `make setup` brings the rest into .venv.
PYTHON ?= python3
UV     := .repro/uv/bin/uv
BIN    := $(CURDIR)/.venv/bin
# `repro` and `dvc` must be found by the stages that DVC starts.
export PATH := $(BIN):$(PATH)
DEMO   := synthetic_mobilenetv2_os16
# Tests run in this many processes, a file in one of them: its tests may share a fixture and an order.
JOBS   ?= 2
PYTEST := python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
TORCH  := $(PYTEST) -m 'torch and not smoke'
AVX512 := $(shell grep -m 1 -o avx512f /proc/cpuinfo 2>/dev/null)
AVX2   := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2
SSE    := ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default
# A proxy's certificate is often known to the system alone. uv asks the system's store when told to, pip from 24.2 on
# does; an older pip takes its own list first, then the system's. A machine without a store keeps the programs' lists.
CERTS  := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
            /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem))
ifneq ($(CERTS)$(filter Darwin,$(shell uname -s)),)
export UV_SYSTEM_CERTS ?= 1
endif

.PHONY: help setup demo test quick test-cpus check smoke ui bench parity lock docs site

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/ready data/synthetic ## make .venv from requirements.lock (pinned, hashed), and the built-in data

BOOTSTRAP := .repro/uv/bin/python -m pip install --quiet --require-hashes -r requirements-bootstrap.lock
$(UV): requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is %d.%d; try make PYTHON=python3.12" % sys.version_info[:2] if not (3, 11) <= sys.version_info < (3, 14) else 0)'
	$(PYTHON) -m venv .repro/uv
	$(BOOTSTRAP) $(if $(CERTS),|| PIP_CERT=$(CERTS) $(BOOTSTRAP))
	@touch $@

.venv/ready: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --require-hashes --python .venv requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --python .venv --editable .
	@touch $@

data/synthetic: | .venv/ready
	repro data synthetic
	dvc commit --quiet --force data.dvc # into DVC's cache, so that dvc checkout and dvc push know it

demo: setup ## make a zoo in the folder demo/ and run it: data, training, evaluation, record, tables
	repro init demo
	cd demo && dvc repro
	cd demo && repro table --dataset synthetic && repro check $(DEMO)
	@echo
	@echo 'The demo is a project of its own, which git ignores: $(CURDIR)/demo'
	@echo 'Next: make ui                          its run in MLflow'
	@echo '      source .venv/bin/activate'
	@echo '      cd demo && repro show $(DEMO)   its result and where it comes from'
	@echo '      repro list                       all experiments, in this folder'

test: setup ## pass the tests
	$(PYTEST)
	python -m pytest tests/device

quick: setup ## pass the tests that take no seconds each
	$(PYTEST) -m 'not slow and not smoke'

test-cpus: setup ## the tests that compute with torch, as processors without AVX-512 and without AVX compute
	$(if $(AVX512),$(AVX2) $(TORCH),@echo 'This processor has no AVX-512: `make test` computes with AVX2 at most, it is not repeated.')
	$(if $(AVX512),$(AVX2) python -m pytest tests/device)
	$(SSE) $(TORCH)
	$(SSE) python -m pytest tests/device

check: setup site ## ruff, formatting, types, generated files, the documentation as a site
	ruff check .
	ruff format --check .
	mypy
	repro sync --check
	repro cost --all --check
	repro table --check
	repro page attest --check
	repro docs --check

smoke: setup ## run all stages of an experiment of each page and family on stand-in data, examples/ and the walk
	repro run --smoke
	python -m pytest -m smoke tests/stages/test_smoke.py tests/stages/test_walk.py
	$(or $(wildcard .venv-parity/bin/python),python) -m pytest -m smoke tests/stages/test_examples.py

ui: setup ## MLflow's own UI on the demo's store (on this project's: repro ui)
	cd $(if $(wildcard demo/params.yaml),demo,.) && repro ui

bench: parity ## speed and memory as ratios against named peers
	.venv-parity/bin/python -m tests.bench

parity: .venv-parity/ready ## compare networks with independent implementations
	.venv-parity/bin/python -m pytest tests/parity

.venv-parity/ready: requirements-parity.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-parity
	$(UV) pip sync --require-hashes --python .venv-parity requirements-parity.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --python .venv-parity --editable .
	@touch $@

COMPILE := pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet --custom-compile-command 'make lock'
lock: | $(UV) ## renew the lock files from pyproject.toml
	$(UV) $(COMPILE) pyproject.toml --extra dev --extra docs -o requirements.lock
	$(UV) $(COMPILE) pyproject.toml --extra dev --extra docs --extra parity -c requirements.lock -o requirements-parity.lock
	echo 'uv==0.13.8' | $(UV) $(COMPILE) - -o requirements-bootstrap.lock

docs: setup ## renew generated documentation and table regions
	repro table --write
	repro docs

site: setup ## build the documentation into site/; a link to nothing is an error
	zensical build --strict --clean
	python tools/site_links.py site
