# The course's commands. `make` alone lists them.
PYTHON ?= python3
TORCH  ?= auto
BIN    := .venv/bin
export TORCH
export OMP_NUM_THREADS ?= 1
export WANDB_MODE ?= offline

.DEFAULT_GOAL := help
.PHONY: help install everything lab demo test lint book run sync check student instructor grade badges bench gpu clean

help:               ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

install:            ## build .venv with what the chapters need (TORCH=auto|cpu|cuda)
	@$(PYTHON) book/tools/install.py course

everything:         # the same environment with the tools of tests, book and grading added
	@$(PYTHON) book/tools/install.py course book dev grade

lab: install        ## open JupyterLab on the first page (ARGS=--no-browser on a server)
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/chapters/00_start.ipynb $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

demo: install       ## a minute of training on tales, then tales of its own (ARGS="--seconds 300")
	$(BIN)/lmcore demo $(ARGS)

test: everything lint book   ## every test, every notebook, the book in a browser
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -p tests.nbval_plugin --nbval --nbval-current-env \
	  --nbval-cell-timeout 600 --nbval-sanitize-with tests/nbval_sanitize.cfg chapters/*.ipynb

lint: everything    ## ruff (lint only)
	$(BIN)/ruff check -q lmcore tests chapters book data

book: everything    ## render the site into book/_build/html
	$(BIN)/python book/tools/assemble.py
	$(BIN)/sphinx-build -W --keep-going -n -q -c book -d book/_build/doctrees -b html book/_build/src book/_build/html

run: everything     ## execute chapters and store their outputs (CH="01 03" for some)
	$(BIN)/python book/tools/run.py $(CH)

sync: everything    ## carry edits between notebooks and their text twins
	$(BIN)/python book/tools/course.py
	$(BIN)/python book/tools/run.py --sync $(CH)

student: everything      ## student editions of the exercises (SEED=1)
	@$(BIN)/python chapters/exercises/grade.py student $(if $(SEED),--seed $(SEED)) $(if $(CH),--chapter $(CH))

instructor: everything   ## instructor editions: solutions, hidden tests, remarks (SEED=1)
	@$(BIN)/python chapters/exercises/grade.py instructor $(if $(SEED),--seed $(SEED)) $(if $(CH),--chapter $(CH))

grade: everything        ## grade a folder of submissions (SUBMISSIONS=folder)
	@$(BIN)/python chapters/exercises/grade.py grade $(SUBMISSIONS) $(if $(SEED),--seed $(SEED)) $(if $(CH),--chapter $(CH))

badges:             ## stamp the repository into links and set-up cells (REPO=owner/name TAG=v1)
	@$(PYTHON) book/tools/badges.py $(if $(REPO),--repo $(REPO)) $(if $(TAG),--tag $(TAG))

bench: everything   ## speed as ratios against peers
	$(BIN)/python -m pytest -q -s tests/bench/*.py

gpu: everything     ## what wants a GPU: tests, speed, the 19M run, chapters; results in .cache/gpu
	$(BIN)/python tests/gpu.py $(STAGES)

clean:              ## remove everything that was built, the environment included
	rm -rf .venv .cache .pytest_cache .hypothesis .ruff_cache book/_build build dist
