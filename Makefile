# What a developer, a newcomer and CI run. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
# File by file in their own order: few but long tests come first, and short ones fill the gaps at the end.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
CRDS := crds helm/footplate/files/crds
DEV_KUBECONFIG = $${FOOTPLATE_DEV_HOME:-$$HOME/.footplate/dev}/kubeconfig
OBSERVED := helm/footplate/files

BUILDER ?= docker
OPERATOR_IMAGE ?= footplate/operator:dev
TRAINER_IMAGE ?= footplate/trainer:dev
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# build FILE,TAG,ARGUMENTS: of the build arguments those that have a value are passed on.
arguments = $(foreach name,$(1),$(if $($(name)),--build-arg $(name)='$($(name))')) $(if $(MIRROR),--build-arg PIP_INDEX_URL='$(MIRROR)')
build = $(BUILDER) build $(call arguments,VERSION REVISION PYTHON_IMAGE $(3)) $(BUILD_OPTIONS) -f $(1) -t $(2) .

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-fashion demo-sentiment chaos chaos-replicas test test-slow test-unit test-realcluster test-e2e test-gpu test-images test-chart test-frameworks check format crds dashboards admission chart release pictures bench bench-scale soak soak-replicas fuzz audit lock images image-operator image-trainer clean

help:  ## Lists the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

venv: $(READY)  ## Makes the virtual environment with everything that tests and demos need

$(READY): pyproject.toml .ci/constraints.txt .ci/setup
	@PYTHON=$(PYTHON) VENV=$(VENV) .ci/setup
	@touch $@

demo: $(READY)  ## Trains on scikit-learn's digits in an embedded cluster, which stays: no Docker, no Kubernetes
	@$(BIN)/python examples/digits/make_data.py .footplate/data/digits
	@rm -rf .footplate/models/digits
	@export PATH="$(CURDIR)/$(BIN):$$PATH" KUBECONFIG="$(DEV_KUBECONFIG)"; \
	  footplate dev up --detach --data .footplate/data/digits=s3://datasets/digits/ && \
	  footplate submit examples/digits/job.yaml --yes --follow && \
	  footplate artifact get digits .footplate/models/digits && \
	  printf '%s\n' '' 'The cluster runs on. To see the run in a browser, and to end all of it:' \
	    "  $(BIN)/footplate ui --kubeconfig $(DEV_KUBECONFIG)" '  $(BIN)/footplate dev down'

demo-fashion: $(READY)  ## The same with Fashion-MNIST: 70,000 real images, under ten minutes
	@.ci/setup --package dataset-fashion-mnist
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/footplate dev run -f examples/fashion-mnist/job.yaml \
	  --data /usr/share/datasets/fashion-mnist=s3://datasets/fashion-mnist/ --download .footplate/models/fashion-mnist

demo-sentiment: $(READY)  ## Fine-tunes a pretrained model on tweets that people have rated, on two nodes, and prints it beside TF-IDF
	@$(BIN)/python examples/sentiment/make_data.py .footplate/data/sentiment
	@rm -rf .footplate/models/sentiment
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/footplate dev run -f examples/sentiment/job.yaml \
	  --data .footplate/data/sentiment=s3://datasets/sentiment/ --download .footplate/models/sentiment
	@$(BIN)/python examples/sentiment/compare.py .footplate/data/sentiment .footplate/models/sentiment

test: check  ## What a newcomer runs: checks, unit tests, and the quick half of integration
	@.ci/setup --package prometheus
	@.ci/setup --package chromium
	$(PYTEST) -m "not slow and not realcluster and not images and not e2e and not gpu and not frameworks and not chart" $(SIDE_BY_SIDE)

test-slow: $(READY) test-images test-chart  ## The rest of what CI runs: sweeps, outages, chaos, images, chart, and realcluster where its binaries are
	$(PYTEST) -m "slow or realcluster" $(SIDE_BY_SIDE)

test-unit: $(READY)  ## A minute or two, needs nothing
	$(PYTEST) tests/unit

test-realcluster: $(READY)  ## Against etcd and kube-apiserver ($KUBEBUILDER_ASSETS) or $FOOTPLATE_TEST_KUBECONFIG
	$(PYTEST) -m "realcluster or conformance"

chaos: $(READY)  ## 200 random schedules of faults, each with a bit-exact end, and the whole crash sweep; SEED=17 for one, SEEDS=0-19 for some
	CHAOS_SEEDS=$(or $(SEED),$(SEEDS),0-199) $(PYTEST) tests/chaos -q -n $(if $(SEED),0,2)
	$(if $(SEED)$(SEEDS),,SWEEP=all $(PYTEST) tests/integration/test_crash_sweep.py)

chaos-replicas: $(READY)  ## 100 random schedules for two and three replicas: killed, frozen, cut off, slow, replaced; SEED=17 for one, SEEDS=0-9
	FAILOVER_SEEDS=$(or $(SEED),$(SEEDS),0-99) $(PYTEST) tests/failover -q -n $(if $(SEED),0,2)

test-e2e: $(READY)  ## On the nodes of $FOOTPLATE_E2E_KUBECONFIG, with both images built; else on kind; skips without either
	$(PYTEST) -m e2e

test-gpu: $(READY)  ## The trainer on a CUDA device, with its speed beside a loop by hand: less than 8 minutes
	$(PYTEST) tests/gpu -m gpu -s

test-chart: $(READY) .venvs/chart/.ready  ## The chart before Helm 3 and 4, kubernetes-validate, checkov and promtool, which it fetches
	@.ci/setup --package prometheus
	@VENV=$(VENV) .ci/fetch-helm .venvs/helm
	$(PYTEST) -m chart tests/chart

.venvs/chart/.ready: tests/chart/requirements.txt .ci/setup
	@PYTHON=$(PYTHON) VENV=.venvs/chart .ci/setup --requirements $<
	@touch $@

FRAMEWORKS ?= $(basename $(notdir $(wildcard tests/frameworks/requirements/*.txt)))
test-frameworks: $(READY) $(FRAMEWORKS:%=.venvs/%/.ready)  ## Examples with real frameworks, each in a .venvs/NAME of its own; FRAMEWORKS=torch for some
	$(PYTEST) -m frameworks tests/frameworks

.venvs/%/.ready: tests/frameworks/requirements/%.txt pyproject.toml .ci/setup
	@PYTHON=$(PYTHON) VENV=.venvs/$* .ci/setup --requirements $<
	@touch $@

check: $(READY)  ## Lint, types, import directions, drift of generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator/footplate trainer-image/footplate_trainer helm/describe_values.py
	$(BIN)/lint-imports
	$(BIN)/python -m footplate.api.crd --check $(CRDS)
	$(BIN)/python -m footplate.observability --check $(OBSERVED)
	$(BIN)/python helm/describe_values.py --check .
	$(BIN)/python -m footplate.admission --check $(OBSERVED)

format: $(READY)  ## Formats the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

crds: $(READY)  ## Writes the CRDs, for kubectl and for the chart, from the models
	$(BIN)/python -m footplate.api.crd $(CRDS)

dashboards: $(READY)  ## Writes the alerts and dashboards that the chart ships, from Python
	$(BIN)/python -m footplate.observability $(OBSERVED)

chart: $(READY)  ## Writes the words of the chart's values.yaml into its schema and into docs/chart.md
	$(BIN)/python helm/describe_values.py .

release: $(READY)  ## Writes dist/crds.yaml, all CRDs in one file, and the packaged chart beside it
	@mkdir -p dist
	@for crd in crds/*.yaml; do printf -- '---\n'; cat $$crd; done > dist/crds.yaml
	$(BIN)/python -c 'import helm_python; print(helm_python.package("helm/footplate", destination="dist"))'

admission: $(READY)  ## Writes the admission policies that the chart ships, from the rules of TrainingPolicies
	$(BIN)/python -m footplate.admission $(OBSERVED)

pictures: $(READY)  ## Makes the pictures of README and docs, of jobs that really run
	@.ci/setup --package chromium
	PYTHONPATH=tests $(BIN)/python -m pictures

bench: $(READY)  ## Prints the figures of the README
	@.ci/setup --package chromium
	$(BIN)/python tests/bench

bench-scale: $(READY)  ## 16,000 pods and 10,000 jobs on a real kube-apiserver: half an hour; SCALE="--only create"
	PYTHONPATH=tests $(BIN)/python -m bench.scale --plot docs/scale.png $(SCALE)

soak: $(READY)  ## Random lives of jobs among API faults for 45 minutes; SOAK="--minutes 600"
	PYTHONPATH=tests $(BIN)/python -m soak $(SOAK)

soak-replicas: $(READY)  ## Two replicas, silent watches, takeovers, in virtual time, for an hour; MINUTES=5
	PYTHONPATH=tests $(BIN)/python -m replicas --minutes $(or $(MINUTES),60)

fuzz: $(READY)  ## 10,000 hostile manifests, and 10,000 statuses, pods, answers and last words: minutes; SEED=20000 for others
	PYTHONPATH=tests $(BIN)/python -m fuzz --seed $(or $(SEED),0)

audit: $(READY)  ## Known vulnerabilities of what is locked (pip-audit), a bill of materials and licences, in dist/
	@$(BIN)/python .ci/audit

lock: $(READY)  ## Writes the versions in use to .ci/constraints.txt
	$(BIN)/pip freeze --exclude footplate --exclude pip | sed 's/+cpu$$//' > .ci/constraints.txt

images: image-operator image-trainer  ## Builds both images; docs/operations.md has its variables (BUILDER, PYTHON_IMAGE, MIRROR, TORCH_WHEELS, …)

image-operator:
	$(call build,operator/Dockerfile,$(OPERATOR_IMAGE),)

image-trainer:
	$(call build,trainer-image/Dockerfile,$(TRAINER_IMAGE),TORCH TORCH_WHEELS EXTRA_PACKAGES)

test-images: $(READY)  ## Builds both images with buildah, and runs them with runc: needs root and Debian's packages
	@.ci/setup --package buildah
	@.ci/setup --package debootstrap
	@.ci/setup --package runc
	$(PYTEST) -m images

clean:  ## Removes what the targets above made
	rm -rf $(VENV) .venvs .footplate dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
