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

.PHONY: simulate
simulate: ## The operator under 100 000 schedules of faults and cuts, on a simulated clock. SPARKBATCH_SIMULATE_SEED=N begins at that one.
	@tests/run simulate $(or $(SPARKBATCH_SIMULATE_SCHEDULES),100000) $(SPARKBATCH_SIMULATE_SEED)

.PHONY: e2e
e2e: ## The end-to-end tests alone, on the local cluster.
	@tests/run e2e

.PHONY: chaos
chaos: ## Fifty batches on the local cluster, while the operator, the API server and etcd are killed for ten minutes.
	@tests/run chaos

.PHONY: conformance
conformance: ## Side by side with a real Apache Livy: captured answers of 0.9, and a live 0.7.1.
	@tests/run conformance

.PHONY: clients
clients: ## Real Livy clients alone, on the local cluster.
	@tests/run clients

.PHONY: page
page: ## The page alone, in a real Chromium, with a fake cluster behind it. Pictures go to target/page-screenshots.
	@tests/run page

.PHONY: chart
chart: ## The Helm chart alone, without a cluster. tests/run chart --write accepts what it makes now.
	@tests/run chart

.PHONY: schemathesis
schemathesis: ## Generated requests alone, on the local cluster: no 5xx, every answer as documented.
	@tests/run schemathesis

.PHONY: bench
bench: ## How fast the REST API is, beside bare calls and a real Apache Livy, and the controller with 10 000 batches. Prints tables.
	@tests/run bench

.PHONY: parity
parity: ## Records anew what the real spark-submit of three versions makes of tests/parity/cases.json.
	@tests/run parity

.PHONY: generate
generate: ## Writes the generated files anew: the definition, the references of its fields and of metrics, the chart's README, kustomize's part of the chart.
	@cargo run --quiet --locked -- crd > crds/sparkbatches.yaml.new && mv crds/sparkbatches.yaml.new crds/sparkbatches.yaml
	@cp crds/sparkbatches.yaml charts/sparkbatch/files/sparkbatches.yaml
	@SPARKBATCH_GENERATE=1 cargo test --quiet --locked --test docs --test observability reference
	@charts/document
	@deploy/kustomize/generate

.PHONY: snapshots
snapshots: ## Accepts what the golden tests see now. Read the difference before you commit it.
	@INSTA_UPDATE=always cargo test --quiet --locked --lib --test golden --test cli

.PHONY: cluster-up cluster-down
cluster-up: ## Starts the local cluster.
	@deploy/local/cluster up
cluster-down: ## Ends the local cluster and removes what it made.
	@deploy/local/cluster down

.PHONY: prerequisites
prerequisites: ## Installs by apt what the others want to be there before, but for Rust and Go.
	@deploy/install packages

.PHONY: release-check audit image image-index sbom chart-package publish
release-check: ## Whether the versions of program and chart agree; with TAG=v1.2.3, the tag and the changelog too.
	@deploy/release check
audit: ## Licences, sources and known faults of what the program is made of. CHECKS="bans licenses sources" needs no network.
	@deploy/release audit
image: ## The operator's image for this machine's architecture, into dist.
	@deploy/release image
image-index: ## One image of those in dist, for every architecture: an OCI layout in dist/image.
	@deploy/release index
sbom: ## What the program is made of, as CycloneDX, into dist.
	@deploy/release sbom
chart-package: ## The chart as a package, into dist. With REPOSITORY=registry/name it knows its image.
	@deploy/release chart
publish: ## Pushes dist/image to IMAGE=registry/name and the chart to CHARTS=oci://registry/folder.
	@deploy/release publish
