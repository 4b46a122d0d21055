# `make demo` and `make test` need nothing but make, git and Python 3.11: hack/setup brings the rest.
SHELL := /bin/bash
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo demo-keep test lint format bench bench-kernel bench-agent bench-operator soak image-check sbom install-yaml
.PHONY: docs pictures kind-up kind-e2e kind-down clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## The bundled shop in a cluster of network namespaces, with real packets
	@hack/setup kernel
	@hack/demo

demo-keep: ## The same, and leave the cluster running to try things on
	@hack/setup kernel
	@hack/demo keep

WORKERS ?= auto
test: ## Run every check and every test; as root also those that load rules into a kernel
	@hack/setup kernel
	@$(MAKE) --no-print-directory check
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile

lint: ## Run the linters, the type checker and the check of the import direction
	@hack/setup
	@$(MAKE) --no-print-directory check

.PHONY: check
check:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck --external-sources .ci/run hack/setup hack/earlier hack/demo hack/demo-offline hack/image/*.sh hack/kind/*.sh hack/kubernetes/*.sh

format: ## Format the code, and mend what ruff can mend
	@hack/setup
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: ## Measure resolve, compile and render on generated clusters of up to 150k pods
	@hack/setup
	@$(BIN)/python hack/bench/engine.py --json bench.json

bench-kernel: ## Measure what changes cost in the kernel, on both backends (root)
	@hack/setup kernel
	@$(BIN)/python hack/bench/kernel.py --json bench-kernel.json
	@$(BIN)/python hack/bench/rate.py

bench-agent: ## Measure an agent: watch to kernel, memory, processor when idle, on both backends (root)
	@hack/setup kernel
	@$(BIN)/python hack/bench/agent.py --json bench-agent.json

bench-operator: ## Measure the operator: event to write at 5,000 pods, first start and memory at 150,000
	@hack/setup
	@$(BIN)/python hack/bench/publishing.py latency
	@$(BIN)/python hack/bench/publishing.py start

SECONDS ?= 600
SEED ?= 1
soak: ## Random clusters, policies and packets: text == simulated rules == kernel, for SECONDS from SEED (root)
	@hack/setup kernel
	@$(BIN)/python -m tests.kernel.soak --seconds $(SECONDS) --seed $(SEED)
	@PODGATE_SOAK_CHANGES=2000 $(BIN)/pytest tests/kernel/test_coexistence.py tests/kernel/test_churn.py
	@PODGATE_E2E_CHANGES=1000 PODGATE_E2E_OUTAGE=60 PODGATE_E2E_STORM=20 $(BIN)/pytest tests/e2e/system

.PHONY: kubernetes test-kubernetes test-node test-upgrade
kubernetes: ## Build etcd, kube-apiserver and kube-controller-manager from their Go modules (go; minutes)
	@hack/kubernetes/build.sh kube-controller-manager

test-kubernetes: ## Run the tests that mean something on a real kube-apiserver (go)
	@hack/setup kernel
	@assets=$$(hack/kubernetes/build.sh kube-controller-manager) && \
		KUBEBUILDER_ASSETS=$$assets $(BIN)/pytest -n 2 --dist loadfile tests/e2e/kubernetes tests/e2e/system

test-node: ## Run podgate's manifests below a real kubelet and containerd, after make image-check (go, root)
	@hack/setup kernel
	@hack/kubernetes/node.sh up
	@PODGATE_NODE=1 $(BIN)/pytest tests/e2e/kubernetes/test_node.py; status=$$?; hack/kubernetes/node.sh down; exit $$status

FROM ?=
test-upgrade: ## Run operator and agents of the revision FROM beside those of this one, there and back (root)
	@hack/setup kernel
	@hack/earlier "$(FROM)"
	@PODGATE_EARLIER=$(CURDIR)/build/earlier $(BIN)/pytest tests/e2e/system/test_versions.py

install-yaml: ## Write manifests/install.yaml anew, from manifests/base (kubectl)
	@{ echo "# Made by make install-yaml from manifests/base"; kubectl kustomize manifests/base; } > manifests/install.yaml.new
	@mv manifests/install.yaml.new manifests/install.yaml

docs: ## Write anew the pages that are made from the code (docs/reference, docs/lint.md)
	@hack/setup
	@for page in cli_reference lint_codes metrics_reference resources_reference; do \
		$(BIN)/python hack/docs/$$page.py || exit; done

pictures: ## Write docs/images anew, from what commands print in a lab (root)
	@hack/setup kernel
	@$(BIN)/python hack/docs/screenshots.py

kind-up: ## A kind cluster with a plain network, and podgate on it (docker, kind, kubectl); KIND="--family dual"
	@hack/kind/up.sh $(KIND)

kind-e2e: ## The life of a policy on that cluster, from its creation to the uninstallation
	@hack/kind/e2e.sh $(KIND)

kind-down: ## Remove that cluster
	@hack/kind/down.sh $(KIND)

image-check: ## Build the image on a debootstrapped base, run it as a node would, list what it holds (root)
	@hack/image/check.sh

sbom: ## Write build/image/sbom.json, CycloneDX, of a file system made in a chroot (root)
	@hack/image/check.sh --sbom

clean: ## Remove the environment and every cache
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
