# Every target sets up what it needs: `make demo` and `make test` work in a fresh clone with Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
METHOD ?= stargan
KILLS ?= 8
SEED ?= 0
SECONDS ?= 60
KIND ?= all
PYTEST = $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --durations 30
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo sweep-demo methods-table reference strip test test-quick test-all lint format chaos fuzz bench bench-table bench-gpu bench-stream bench-translate bench-serve simulate setup clean help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(READY)  ## the environment, with pinned versions

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "Installing torch, Ray and the rest into $(VENV): some minutes, 7 GB."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)
	@echo "Installed. For the commands of the README: source $(VENV)/bin/activate"

demo: $(READY)  ## shard glyphs, train METHOD on Ray, translate held-out characters, measure (5 minutes)
	$(BIN)/python pipelines/demo.py --method $(METHOD)

sweep-demo: $(READY)  ## a sweep of ten small pix2pix runs on two cores, with plots and the best (5 minutes)
	$(BIN)/python -m pipelines.sweep_demo

methods-table: $(READY)  ## trains and measures every method's demo; writes the table of docs/methods.md
	$(BIN)/python -m pipelines.methods_table

strip: $(READY)  ## the README's strip of pictures, from what methods-table left
	$(BIN)/python -m pipelines.strip

test: $(READY)  ## the tests
	$(PYTEST) -m "not slow and not gpu"

test-quick: $(READY)  ## the unit tests, without those that start a process or a server (under 2 minutes)
	$(PYTEST) -m "not slow and not gpu and not ray and not s3 and not processes" tests/unit

test-all: $(READY)  ## the tests and their long forms
	$(PYTEST) -m "not gpu"

lint: $(READY)  ## linter, formatter check, type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## put files into the formatter's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: $(READY)  ## kills processes of a run at random moments (KILLS=8 SEED=0), and compares with one left alone
	$(BIN)/python -m tests.chaos --kills $(KILLS) --seed $(SEED)

fuzz: $(READY)  ## feeds damaged files and command lines to what reads them (SECONDS=60 SEED=0 KIND=all); keeps what fails
	$(BIN)/python -m tests.fuzz --kind $(KIND) --seconds $(SECONDS) --seed $(SEED)

bench: $(READY)  ## times steps, workers, loops, checkpoints and the start on this CPU into bench-output/ (10 minutes)
	$(BIN)/python -m tests.bench --minutes 8

bench-table: $(READY)  ## the newest file of bench-output/ as Markdown for docs/performance.md, and as a picture
	$(BIN)/python -m tests.bench table --plot bench-output/speeds.png

bench-stream: $(READY)  ## samples/s of the stream beside WebDataset and torchvision, local and from S3 (5 minutes)
	$(BIN)/python -m tests.bench_stream --s3

bench-translate: $(READY)  ## images/s of translate.py, its driver's memory, and a driver killed half-way (3 minutes)
	$(BIN)/python -m tests.bench_translate --kill 0.5

bench-serve: $(READY)  ## 200 clients at once on serve.py, malformed and huge bodies among them: p99, memory, nothing lost (2 minutes)
	$(BIN)/python -m tests.bench_serve

simulate: $(READY)  ## what a data set costs by how many samples it has: 10^6 to 10^9 in 100,000 shards (2 minutes)
	$(BIN)/python -m tests.simulate

bench-gpu:  ## times the step of every method at the papers' sizes; needs torch and a GPU, nothing else (8 minutes)
	$(PYTHON) -m tests.bench --device cuda --minutes 7

.PHONY: reference
reference: $(READY)  ## docs/reference: flags, metrics and files, from the code
	$(BIN)/python -m pipelines.reference

clean:  ## remove the environment and what runs made
	rm -rf $(VENV) *.egg-info demo-output methods-output bench-output runs data
