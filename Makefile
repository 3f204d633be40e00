# Every command of the project; `make` alone lists them.
#   make demo PYTHON=python3.12     with another interpreter
#   make demo VENV=/tmp/edgeq-venv  with the environment elsewhere

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
    $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# An empty file says that the environment is there; it is older than what it was made from when it must be made again.
RUN_STAMP := $(VENV)/.edgeq-run
BENCH_STAMP := $(VENV)/.edgeq-bench
DOCS_STAMP := $(VENV)/.edgeq-docs
DEV_STAMP := $(VENV)/.edgeq-dev
MADE_FROM := pyproject.toml constraints.txt

.PHONY: networks deep-compression help setup setup-dev demo test check docs dist smoke bench qemu-tools bench-qemu \
    bench-baseline cifar10 cifar10-methods cifar10-compression cifar10-table2 fuzz lock clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 17

setup: $(RUN_STAMP) ## make .venv with edgeq in it

setup-dev: $(DEV_STAMP) ## make .venv with edgeq and what tests and checks need

demo: $(RUN_STAMP) ## train, quantize, export and verify a ResNet-20 on the embedded digits, into out/demo
	$(BIN)/edgeq build --bits 8 --target cortex-a75 --out out/demo

test: $(DEV_STAMP) ## run the tests
	$(BIN)/python -m pytest

check: $(DEV_STAMP) ## lint, formatting and types
	$(BIN)/ruff check edgeq tests docs
	$(BIN)/ruff format --check edgeq tests docs
	$(BIN)/mypy

docs: $(DOCS_STAMP) ## build the site into build/docs; a warning is an error
	$(BIN)/python -m sphinx --fresh-env --nitpicky --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo "build/docs/index.html"

# The sdist first, and the wheel from it: what the sdist lacks, the wheel lacks.
dist: $(DEV_STAMP) ## build the sdist and, from it, the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

smoke: dist ## install both outside the checkout and use them in an empty folder
	$(BIN)/python tests/packaging/smoke.py dist

bench: $(DEV_STAMP) ## what the regularizer adds to a training step, and what an export costs
	$(BIN)/python tests/benchmarks/bench_regularizer.py
	$(BIN)/python tests/benchmarks/bench_export.py

# The board's own interpreter needs numpy 1 and Python 3.11, so it has an environment of its own, where there is one.
OLD_RUNTIME := $(VENV)/tflite-runtime

networks: $(DEV_STAMP) ## every built-in network through export and every runtime, into docs/results
	if command -v python3.11 >/dev/null && [ ! -x $(OLD_RUNTIME)/bin/python ]; then \
	    python3.11 -m venv $(OLD_RUNTIME) && $(OLD_RUNTIME)/bin/pip install --quiet 'numpy<2' 'tflite-runtime>=2.14'; fi
	[ ! -x $(OLD_RUNTIME)/bin/python ] || export EDGEQ_TFLITE_RUNTIME_PYTHON=$(abspath $(OLD_RUNTIME)/bin/python); \
	    $(BIN)/python tests/benchmarks/networks.py

deep-compression: $(DEV_STAMP) ## two LeNets pruned, shared and packed on digits, into docs/results
	$(BIN)/python tests/benchmarks/deep_compression.py

# Debian's names; the bench under QEMU needs a qemu-user that takes -plugin, as Debian 12's does.
QEMU_PACKAGES := qemu-user gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
    gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
QEMU_PROGRAMS := qemu-aarch64 qemu-arm gcc aarch64-linux-gnu-gcc arm-linux-gnueabihf-gcc

qemu-tools: ## install the emulator and the cross compilers that the bench needs, where apt-get may
	@if command -v $(QEMU_PROGRAMS) >/dev/null && [ "$$(command -v $(QEMU_PROGRAMS) | wc -l)" = $(words $(QEMU_PROGRAMS)) ]; then \
	    exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $(QEMU_PACKAGES)"; \
	    apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(QEMU_PACKAGES) >/dev/null; \
	else \
	    echo "the bench needs an emulator and cross compilers; install them and run make again:" \
	         "sudo apt-get install $(QEMU_PACKAGES)" >&2; exit 1; fi

BENCH := $(BIN)/edgeq bench out/demo --target cortex-a75 --target cortex-a7 \
    --baseline docs/results/bench-qemu-baseline.json

bench-qemu: $(BENCH_STAMP) qemu-tools ## run the demo's artifact as ARM code on both targets; count, compare, estimate
	[ -e out/demo/model.tflite ] || $(BIN)/edgeq build --bits 8 --target cortex-a75 --out out/demo
	$(BIN)/edgeq reproduce table1
	$(BIN)/edgeq peak --target cortex-a75 --via qemu
	$(BIN)/edgeq peak --target cortex-a7 --via qemu
	$(BENCH) --save out/bench-qemu.json --roofline out/bench-qemu.svg

bench-baseline: $(BENCH_STAMP) qemu-tools ## record what bench-qemu may not exceed by 0.5 %, after a wanted change
	[ -e out/demo/model.tflite ] || $(BIN)/edgeq build --bits 8 --target cortex-a75 --out out/demo
	$(BENCH) --no-operations --record-baseline

CIFAR10 ?= ../shared/data/cifar10-imagefolder.tar.xz

cifar10: $(RUN_STAMP) ## train and verify a ResNet-20 on CIFAR-10 (an hour of one core), keep its figures in docs/results
	OMP_NUM_THREADS=1 $(BIN)/edgeq build --data $(CIFAR10) --model resnet20 --bits 8 --epochs 40 --batch-size 64 \
	    --cutout 10 --out out/cifar10
	$(BIN)/python tests/benchmarks/record_result.py out/cifar10 cifar10-resnet20 --command "make cifar10"

# Called again, these go on where they stopped: what is finished in out/ is not trained again.
JOBS ?= 2
TABLE2_EPOCHS ?= 5

cifar10-methods: $(RUN_STAMP) ## 8, 4 and 2 bits by every method on CIFAR-10 (hours), keep the tables in docs/results
	mkdir -p out
	$(BIN)/edgeq reproduce methods --data $(CIFAR10) --epochs 100 --fine-tuning-epochs 8 --cutout 12 --jobs $(JOBS) \
	    --seed 0 --seed 1 --out out/methods --json > out/methods.json
	$(BIN)/python tests/benchmarks/record_table.py out/methods.json methods --command "make cifar10-methods"

cifar10-compression: $(RUN_STAMP) qemu-tools ## every compression method on CIFAR-10 (hours), keep the table in docs/results
	mkdir -p out
	$(BIN)/edgeq reproduce compression --data $(CIFAR10) --epochs 300 --initial-image-size 24 --retraining-epochs 4 \
	    --cutout 8 --jobs $(JOBS) --seed 0 --out out/compression --json > out/compression.json
	$(BIN)/python tests/benchmarks/record_table.py out/compression.json compression --command "make cifar10-compression"

cifar10-table2: $(RUN_STAMP) ## the paper's Table 2 on CIFAR-10, TABLE2_EPOCHS=5 a cell (hours), keep it in docs/results
	mkdir -p out
	$(BIN)/edgeq reproduce table2 --data $(CIFAR10) --epochs $(TABLE2_EPOCHS) --jobs $(JOBS) --seed 0 --seed 1 \
	    --out out/table2 --json > out/table2.json
	$(BIN)/python tests/benchmarks/record_table.py out/table2.json table2 \
	    --command "make cifar10-table2 TABLE2_EPOCHS=$(TABLE2_EPOCHS)"
	$(BIN)/edgeq reproduce figures --table2 out/table2 --out out/figures
	cp out/figures/figure4.svg out/figures/figure5.svg docs/images

N ?= 500
SEED ?= 0

fuzz: $(DEV_STAMP) ## convert N=500 random graphs (SEED=0), compare their layers in three runtimes, keep the figures
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --graphs $(N) --seed $(SEED)

# torch is pinned by its public version, so that pip takes a CPU build (2.13.0+cpu) wherever it is told of one.
lock: ## write constraints.txt anew from what pip resolves today
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	"$(PYTHON)" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip --disable-pip-version-check install --quiet -e '.[dev]' torch==2.13.0; \
	{ echo "# Written by 'make lock': what 'make setup' installs. Hosts are pip's own business, none is named here."; \
	  "$$folder/bin/python" -m pip --disable-pip-version-check freeze --exclude-editable --exclude pip --exclude setuptools \
	    --exclude wheel | sed -E 's/^(torch==[^+]*)\+.*/\1/' | grep -E '^[A-Za-z0-9._-]+=='; } > "$$folder/constraints.txt"; \
	cp "$$folder/constraints.txt" constraints.txt

clean: ## remove the environment, builds and caches
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find edgeq tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	    echo "edgeq needs Python 3.11 or newer; here is $$(python3 --version 2>&1 || echo none)." \
	         "Install one (Debian 12+, Ubuntu 24.04+: apt-get install python3 python3-venv)" \
	         "or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
	    package=$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo "installing $$package"; \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$$package"; \
	    else \
	        echo "$(PYTHON) cannot make virtual environments. Install its venv package and run make again:" \
	             "sudo apt-get install $$package" >&2; exit 1; fi; fi
	"$(PYTHON)" -m venv $(VENV)

$(RUN_STAMP): $(MADE_FROM) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(BENCH_STAMP): $(MADE_FROM) $(RUN_STAMP)
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	touch $@

# After the other, also under -j: two pips in one environment do not go well.
$(DOCS_STAMP): $(MADE_FROM) $(RUN_STAMP)
	$(PIP) install --quiet -c constraints.txt -e '.[docs]'
	touch $@

$(DEV_STAMP): $(MADE_FROM) $(RUN_STAMP)
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	touch $@
