# Everything a developer or an operator runs. `make` alone lists it.

PYTHON ?= python3
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# Where cargo builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)
POLYHEAD := $(TARGET)/release/polyhead

# The image's name, and what builds it: the first of these three that works here. A health check is
# part of docker's format only, hence the flag for the other two.
IMAGE ?= polyhead:$(VERSION)
IMAGE_BUILD ?= $(or $(shell docker info >/dev/null 2>&1 && echo docker build),\
    $(shell command -v podman >/dev/null && echo podman build --format docker),\
    $(shell command -v buildah >/dev/null && echo buildah build --layers --format docker),\
    $(error make image needs docker with its daemon, podman or buildah))

# The clients of `make test-clients`.
CLIENTS := $(TARGET)/clients

# The packages of `make bench`.
BENCH_VENV := $(TARGET)/bench-venv

# The packages of `make test-schema`.
SCHEMA_VENV := $(TARGET)/schema-venv

.PHONY: help run build models test test-page test-clients test-schema screenshots lint image bench bench-heads

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: models build ## Fetch, build and serve on 127.0.0.1:8080
	$(POLYHEAD) serve --config config.toml

build: ## Build target/release/polyhead
	cargo build --release --locked

models: ## Fetch ONNX Runtime and the models into lib/ and models/; once fetched, no network
	$(PYTHON) models/fetch.py

test: ## Fetch what the tests need and run them
	$(PYTHON) models/fetch.py --tests
	cargo test --locked

# Needs node 20 with npm, and Chromium: Debian's package chromium, or another one that CHROMIUM names.
test-page: models ## Use the page as people do, in a headless Chromium
	@command -v npm >/dev/null || { echo "make test-page needs node and npm"; exit 1; }
	cargo build --locked
	npm ci --prefix tests/page --silent --no-fund --no-audit
	POLYHEAD=$(TARGET)/debug/polyhead node --test --test-reporter=./tests/page/reporter.js tests/page/all.test.js

screenshots: models ## Take the pictures of the page in docs/screenshots
	cargo build --locked
	npm ci --prefix tests/page --silent --no-fund --no-audit
	POLYHEAD=$(TARGET)/debug/polyhead node tests/page/screenshots.js
	! command -v pngquant >/dev/null || pngquant --force --ext .png --strip --speed 1 docs/screenshots/*.png

# Node's packages are found beside the program that imports them, hence the copy.
test-clients: models ## Run published clients in Python, Node and Rust against the server
	@command -v npm >/dev/null || { echo "make test-clients needs Node's npm, which is missing"; exit 1; }
	cargo build --locked --bin polyhead
	CARGO_TARGET_DIR=$(TARGET)/clients-rust cargo build --locked --manifest-path tests/clients/rust/Cargo.toml
	$(PYTHON) -m venv $(CLIENTS)/venv
	$(CLIENTS)/venv/bin/pip install --quiet --requirement tests/clients/requirements.txt
	cp tests/clients/package.json tests/clients/package-lock.json tests/clients/in_node.mjs $(CLIENTS)
	npm ci --prefix $(CLIENTS) --no-audit --no-fund --loglevel error
	TARGET=$(TARGET) POLYHEAD=$(TARGET)/debug/polyhead $(CLIENTS)/venv/bin/python tests/clients/run.py

test-schema: ## Attack the server with schemathesis, by its own description
	$(PYTHON) models/fetch.py --tests
	cargo build --locked
	$(PYTHON) -m venv $(SCHEMA_VENV)
	$(SCHEMA_VENV)/bin/pip install --quiet --requirement tests/schema/requirements.txt
	POLYHEAD=$(TARGET)/debug/polyhead $(SCHEMA_VENV)/bin/python -B tests/schema/run.py

lint: ## Formatting, clippy and documentation; a warning is an error
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

image: ## Build the container image with docker, podman or buildah
	$(IMAGE_BUILD) --tag $(IMAGE) --label org.opencontainers.image.version=$(VERSION) .

# Settings, such as SENTENCES=lines.txt or PEERS=torch: see benches/run.py.
bench: models ## Measure engine, server and other engines on this machine; write docs/benchmarks.*
	cargo build --release --locked --bin polyhead --example load
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --requirement benches/requirements.txt \
	    $(if $(findstring torch,$(PEERS)),--requirement benches/requirements-torch.txt)
	TARGET=$(TARGET) $(BENCH_VENV)/bin/python benches/run.py

bench-heads: models ## Measure heads beside scikit-learn's; DATA names folders with train.csv and test.csv
	cargo build --release --locked --bin polyhead --example load
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --requirement benches/requirements-heads.txt
	TARGET=$(TARGET) OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BENCH_VENV)/bin/python benches/heads.py $(DATA)
