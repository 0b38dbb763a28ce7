# Everything a developer or an operator runs. `make` alone lists it.

PYTHON ?= python3
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
POLYHEAD := $(or $(CARGO_TARGET_DIR),target)/release/polyhead

# The image's name, and further flags for the tool that builds it.
IMAGE ?= polyhead:$(VERSION)
IMAGE_FLAGS ?=

.PHONY: help run build models test lint image

help: ## List the targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: models build ## Fetch, build and serve on 127.0.0.1:8080
	$(POLYHEAD) serve --config config.toml

build: ## Build target/release/polyhead
	cargo build --release --locked

models: ## Fetch ONNX Runtime and the models into lib/ and models/; once fetched, no network
	$(PYTHON) models/fetch.py

test: ## Fetch what the tests need and run them
	$(PYTHON) models/fetch.py --tests
	cargo test --locked

lint: ## Formatting, clippy and documentation; a warning is an error
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# HEALTHCHECK is part of docker's image format only, hence the flag for the other two.
image: ## Build the container image with docker, podman or buildah
	@if docker info >/dev/null 2>&1; then set -- docker build; \
	elif command -v podman >/dev/null; then set -- podman build --format docker; \
	elif command -v buildah >/dev/null; then set -- buildah build --format docker; \
	else echo "make image: needs docker (with its daemon), podman or buildah" >&2; exit 1; fi; \
	set -x; "$$@" --tag $(IMAGE) --label org.opencontainers.image.version=$(VERSION) $(IMAGE_FLAGS) .
