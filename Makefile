# One command for everything; `make` alone lists them. Needs only make and Python 3.11 to 3.13.

VENV := .venv
BIN := $(VENV)/bin
DEPLOY := .venv-deploy
SITE := .venv-docs
AUDIT := .venv-audit

# The first interpreter that this project runs on: yours (`make PYTHON=…`), the system's, or a versioned one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo "$$python" && break; \
	done)

# Hashed packages only, and nothing built here from anything else. The locks are complete, so that --no-deps leaves out
# nothing but what requirements/exclude.txt leaves out on purpose.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-deps --require-hashes --requirement
LINK := $(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Images often set this. Without bytecode every process would compile TensorFlow anew, which takes three times its import.
unexport PYTHONDONTWRITEBYTECODE

# Environment -----------------------------------------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Facet needs Python 3.11, 3.12 or 3.13, and none is on the PATH; or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# All locks pin the same versions, and dev.txt holds the others: whichever comes first, the next one adds to it.
$(VENV)/serve.stamp: requirements/build.txt requirements/serve.txt pyproject.toml $(BIN)/python
	$(INSTALL) requirements/build.txt --requirement requirements/serve.txt
	$(LINK)
	@touch $@

# Most of what tests need is never run: what is, Python compiles then, and a third of the time is saved.
$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml $(BIN)/python
	$(PIP) install --quiet --no-compile --no-deps --require-hashes --requirement requirements/dev.txt
	$(LINK)
	@touch $@ $(VENV)/serve.stamp

# Each extra of pyproject.toml that people add by hand has a lock of its own name.
EXTRAS := bench face-embeddings many parquet quantize ray remote search tls traces train video

.PHONY: extra
extra: $(VENV)/serve.stamp ## Add an extra to the environment, from its lock (EXTRA=bench|tls|traces|parquet|ray|remote|video|many|train|search|quantize|face-embeddings)
	@test -n "$(filter $(EXTRAS),$(EXTRA))" || { echo "make extra EXTRA=NAME, where NAME is one of: $(EXTRAS)" >&2; exit 1; }
	$(INSTALL) requirements/$(EXTRA).txt

.PHONY: lock
lock: $(VENV)/dev.stamp ## Pin every package again, with hashes, in requirements/ (UPGRADE=1 for the newest)
	$(LOCK) pyproject.toml --group build --extra train --extra dev --output-file requirements/dev.txt
	$(LOCK) --group build --constraints requirements/dev.txt --output-file requirements/build.txt
	$(LOCK) pyproject.toml --constraints requirements/dev.txt --output-file requirements/serve.txt
	$(LOCK) pyproject.toml --constraints requirements/dev.txt --extra tensorflow --no-emit-package openvino \
		--output-file requirements/tensorflow.txt
	$(foreach extra,$(EXTRAS),$(LOCK) pyproject.toml --constraints requirements/dev.txt --extra $(extra) \
		--output-file requirements/$(extra).txt &&) true
	$(LOCK) --group deploy --overrides requirements/override.txt --output-file requirements/deploy.txt
	$(LOCK) --group docs --output-file requirements/docs.txt
	$(LOCK) --group audit --output-file requirements/audit.txt

# One version for every Python and platform; the registry in use and local folders of wheels never show in the files.
LOCK = env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-config \
	--excludes requirements/exclude.txt \
	--universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# The checkers of deploy/ pin what conflicts with the rest, and stay in an environment of their own. Most of their code is never
# run: what is, Python compiles then, and a fifth of the space and a third of the time are saved.
$(DEPLOY)/deploy.stamp: requirements/deploy.txt $(BIN)/python
	$(BIN)/python -m venv --clear $(DEPLOY)
	$(DEPLOY)/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --no-deps --require-hashes \
		--only-binary :all: --requirement requirements/deploy.txt
	@touch $@

# The site's generator reads the code and never imports it.
$(SITE)/docs.stamp: requirements/docs.txt $(BIN)/python
	$(BIN)/python -m venv --clear $(SITE)
	$(SITE)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes \
		--requirement requirements/docs.txt
	@touch $@

$(AUDIT)/audit.stamp: requirements/audit.txt $(BIN)/python
	$(BIN)/python -m venv --clear $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes \
		--requirement requirements/audit.txt
	@touch $@

# Use -------------------------------------------------------------------------------------------------------------------

.PHONY: serve
serve: $(VENV)/serve.stamp ## Serve on http://localhost:8000 (PORT=8000)
	@exec $(BIN)/facet serve $(if $(PORT),--port $(PORT))

# The image's labels say which version and commit it is of; `docker build .` alone leaves them open.
IMAGE ?= facet
TARGET ?= runtime

.PHONY: image
image: ## Build the container's image (IMAGE=facet, TARGET=runtime|tensorflow, BASE=another base)
	DOCKER_BUILDKIT=1 docker build --target $(TARGET) --tag $(IMAGE) $(if $(BASE),--build-arg BASE=$(BASE)) \
		--build-arg VERSION=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
		--build-arg REVISION=$(shell git rev-parse HEAD) .

.PHONY: dist
dist: $(VENV)/dev.stamp ## Build the wheel and the source distribution, in dist/
	$(BIN)/python -m hatchling build

.PHONY: docs
docs: $(SITE)/docs.stamp ## Build the site of the documentation, in site/; a warning fails it
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --quiet --strict

.PHONY: reference
reference: $(VENV)/dev.stamp ## Write the tables of docs/reference anew, from the code
	$(BIN)/python -m tests.docs.tables

# Quality ---------------------------------------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/dev.stamp ## Run every test (ARGS= goes to pytest)
	@$(BIN)/python -m tests.processes $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/dev.stamp ## Run the quick tests of every folder, in less than a minute
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not (browser or container or model or slow)" $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/dev.stamp ## Send a service damaged requests for minutes, and judge the answers (MINUTES=5, SEED=, OUT=runs/fuzz)
	@$(BIN)/python -m tests.soak.fuzz --minutes $(or $(MINUTES),5) $(call option,seed,$(SEED)) $(call option,out,$(OUT)) $(ARGS)

.PHONY: soak
soak: $(VENV)/dev.stamp ## Serve mixed and hostile traffic for an hour and judge memory, threads and answers (MINUTES=60, SEED=, OUT=runs/soak)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60) $(call option,seed,$(SEED)) $(call option,out,$(OUT)) $(ARGS)

.PHONY: check
check: $(VENV)/dev.stamp ## Lint, formatting, types, the direction of imports, and what docstrings have to say
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs.docstrings service training clients/python/src

.PHONY: check-deploy
check-deploy: $(VENV)/dev.stamp $(DEPLOY)/deploy.stamp ## Hold deploy/ to Kubernetes' schemas, CloudFormation's rules and a simulated AWS, and docs/moving to real clients
	@CHECKERS=$(DEPLOY)/bin $(BIN)/python -m pytest $(patsubst %,tests/deploy/test_%.py,agreement aws clients helm kubernetes many_photos operations policies predict_check) $(ARGS)

# By the versions and hashes in the locks: nothing is installed or resolved. A package that the registry says nothing of is a failure.
AUDITED := build serve tensorflow dev $(EXTRAS) deploy docs audit

.PHONY: audit
audit: $(AUDIT)/audit.stamp ## Ask the registry which pinned packages have known faults (AUDITED=serve for that lock alone)
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off $(AUDITED:%=--requirement requirements/%.txt)

.PHONY: format
format: $(VENV)/dev.stamp ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Training --------------------------------------------------------------------------------------------------------------

TRAINING = $(BIN)/python -m training

# $(call option,NAME,VALUE): an option where its value is given, nothing where it is not.
option = $(if $(2),--$(1) "$(2)")

.PHONY: prepare
prepare: $(VENV)/dev.stamp ## Find and cut the faces of data sets (DATA=UTKFace's folder or tar, ALSO=another set, OUT=runs/prepared)
	$(TRAINING) prepare $(call option,data,$(DATA)) $(call option,data,$(ALSO)) $(call option,prepared,$(OUT)) $(ARGS)

.PHONY: train
train: $(VENV)/dev.stamp ## Train on prepared faces (RECIPE=, DATA=runs/prepared, INIT=imagenet|random|FILE or START=weights, OUT=runs/NAME)
	$(TRAINING) train $(call option,recipe,$(RECIPE)) $(call option,prepared,$(DATA)) $(call option,init,$(INIT)) \
		$(call option,start,$(START)) $(call option,run,$(OUT)) $(ARGS)

.PHONY: export
export: $(VENV)/dev.stamp ## Write the trained network to the model store (VERSION=, DATA=UTKFace and ALSO=another set for calibration, OUT=store)
	$(TRAINING) export $(call option,version,$(VERSION)) $(call option,data,$(DATA)) $(call option,data,$(ALSO)) \
		$(call option,store,$(OUT)) $(ARGS)

.PHONY: evaluate
evaluate: $(VENV)/dev.stamp ## Measure a model through the service's own pipeline (DATA=UTKFace, ALSO=another set, OUT=runs/report)
	$(TRAINING) evaluate $(call option,data,$(DATA)) $(call option,also,$(ALSO)) $(call option,out,$(OUT)) $(ARGS)

.PHONY: degrade
degrade: $(VENV)/dev.stamp ## Measure it on pictures made worse, and where warnings are due (DATA=, ALSO=, OUT= as above)
	$(TRAINING) degrade $(call option,data,$(DATA)) $(call option,also,$(ALSO)) $(call option,out,$(OUT)) $(ARGS)

.PHONY: tracks
tracks: $(VENV)/dev.stamp ## Measure the mean over a track's frames, and fit what it needs (DATA=, OUT= as above)
	$(TRAINING) tracks $(call option,data,$(DATA)) $(call option,out,$(OUT)) $(ARGS)

# The published stack and the generator of load come on top of the environment.
$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/dev.stamp
	$(INSTALL) requirements/bench.txt
	@touch $@

.PHONY: bench
bench: $(VENV)/bench.stamp ## Compare speed, load and memory with an earlier commit and the published stack (BASE=commit, OUT=runs/bench, ARGS=--quick)
	$(BIN)/python -m benchmarks.bench $(call option,base,$(BASE)) $(call option,out,$(OUT)) $(ARGS)

# Housekeeping ----------------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove the environment, caches and builds; models and data stay
	rm -rf $(VENV) $(DEPLOY) $(SITE) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist site
	find service training tests examples -type d -name __pycache__ -prune -exec rm -rf {} +
