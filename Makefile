# Everything is a target that runs on a fresh Debian or Ubuntu machine as root; what a target needs, it installs or
# builds. Caches are outside the checkout (SPARKBATCH_CACHE, by default ~/.cache/sparkbatch).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

export SPARKBATCH_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sparkbatch
export CARGO_TARGET_DIR ?= $(SPARKBATCH_CACHE)/target
export CARGO_TERM_COLOR ?= auto

.PHONY: help
help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## Runs two real Spark jobs on a real cluster, made on the spot if KUBECONFIG is not set.
	@deploy/demo

.PHONY: test
test: ## Everything: check, tests in process, and on the local cluster: end to end, beside Livy, real clients, generated requests.
	@tests/run

.PHONY: check
check: ## What answers in two minutes: format, lint, unit tests, goldens.
	@tests/run check

.PHONY: e2e
e2e: ## The end-to-end tests alone, on the local cluster.
	@tests/run e2e

.PHONY: conformance
conformance: ## Side by side with a real Apache Livy: captured answers of 0.9, and a live 0.7.1.
	@tests/run conformance

.PHONY: clients
clients: ## Real Livy clients alone, on the local cluster.
	@tests/run clients

.PHONY: schemathesis
schemathesis: ## Generated requests alone, on the local cluster: no 5xx, every answer as documented.
	@tests/run schemathesis

.PHONY: bench
bench: ## How fast the REST API is, beside bare calls to the API server and beside a real Apache Livy. Prints a table.
	@tests/run bench

.PHONY: parity
parity: ## Records anew what the real spark-submit of three versions makes of tests/parity/cases.json.
	@tests/run parity

.PHONY: generate
generate: ## Writes the generated files anew: the custom resource definition.
	@cargo run --quiet --locked -- crd > crds/sparkbatches.yaml.new && mv crds/sparkbatches.yaml.new crds/sparkbatches.yaml

.PHONY: snapshots
snapshots: ## Accepts what the golden tests see now. Read the difference before you commit it.
	@INSTA_UPDATE=always cargo test --quiet --locked --lib --test golden

.PHONY: cluster-up cluster-down
cluster-up: ## Starts the local cluster.
	@deploy/local/cluster up
cluster-down: ## Ends the local cluster and removes what it made.
	@deploy/local/cluster down
