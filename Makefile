# `make` lists the targets. Everything runs in .venv, which is made where it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install reproduce test check anchors gate dist site format bench dashboard clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv and install rdcodec with its tools, exact versions

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

reproduce: install  ## the main job: corpus, training, coding, scoring, report
	$(BIN)/rdcodec run

# Two processes, so one thread of torch in each: more would only wait for each other. The pages of
# a report come alone: they are heard while they play.
test: install  ## all tests, the tiny real pipeline included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --ignore tests/browser
	$(BIN)/python -m pytest tests/browser

check: install  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

anchors:  ## which anchors are installed, and what to install for the others; installs nothing
	@test -x $(BIN)/rdcodec || { echo "make install comes first"; exit 2; }
	@$(BIN)/rdcodec anchors

gate: install  ## a small real run in a copy, compared with reports/baseline-ci.json
	.ci/gate

dist:  ## wheel and sdist in dist/, tried in a bare environment (PYTHON=python3.13: of another version)
	.ci/dist $(PYTHON)

site: install  ## the documentation as a site, in build/site/; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The site is build/site/index.html"

format: install  ## let ruff format and mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## speed and memory of the codec beside EnCodec, of training, scoring, orchestration
	$(BIN)/python -m benchmarks.codec_speed
	$(BIN)/python -m benchmarks.training_speed
	$(BIN)/python -m benchmarks.busy_machine
	$(BIN)/python -m benchmarks.folders
	$(BIN)/python -m benchmarks.scoring_speed
	$(BIN)/python -m benchmarks.orchestration

dashboard: install  ## Prefect's dashboard, on http://127.0.0.1:4200
	@echo "Prefect's dashboard: http://127.0.0.1:4200 (runs started while it is up appear live; Ctrl-C ends it)"
	PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 \
	$(BIN)/prefect server start --host 127.0.0.1 --port 4200

clean:  ## remove caches of tools; outs of the pipeline stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
