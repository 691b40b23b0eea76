# The two commands: `make book` and `make test`. Both create the environment if need be.

PROFILE ?= mini
SEED ?= 0
SEEDS ?= $(SEED)
SHAPES ?= mini
BATCHES ?= 16 64 256
PYTHON ?= python3.11
BIN := .venv/bin

# Why: lib/dpotox/__init__.py.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 1000
endif

.PHONY: book results pack ladder check test matrix coverage notebooks picture lint benchmark audit update clean
.DELETE_ON_ERROR:

book: .venv/ready  ## make every step, execute the notebooks and build _build/html/index.html (FROM=a pack: only show it)
	@$(BIN)/python -m dpotox.run.book $(if $(FROM),--from "$(FROM)",--profile "$(PROFILE)" --seeds $(SEEDS))

results: .venv/ready  ## make every step and the tables in results/, but no pages
	@$(BIN)/python -m dpotox.run.book --profile "$(PROFILE)" --seeds $(SEED) --results

pack: results  ## put the results into one file, to be shown elsewhere with `make book FROM=file` (SMALL=1: to be compared only)
	@$(BIN)/python -m dpotox.run.pack --profile "$(PROFILE)" --seed "$(SEED)" $(if $(SMALL),--small)

ladder: .venv/ready  ## run models of other shapes and pack their results, seeds 0 1 2 (RUNG=width-64: one of them)
	@$(BIN)/python -m dpotox.run.ladder $(if $(RUNG),--rung $(RUNG)) $(if $(filter-out file,$(origin SEED) $(origin SEEDS)),--seeds $(SEEDS))

check: .venv/ready  ## look every input up and estimate what `make book` will take
	@$(BIN)/python -m dpotox.run.check --profile "$(PROFILE)" --seed "$(SEED)"

test: .venv/ready  ## run all tests, a file at a time in up to four processes (SITE=_build/html: look at those pages)
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(if $(SITE),--site=$(SITE))

matrix: .venv/ready  ## make the whole book of every kind of profile, at tiny sizes
	$(BIN)/python tests/matrix.py

coverage: .venv/ready  ## run all tests and show which lines of the library they do not reach
	$(BIN)/python -m pytest --cov=dpotox --cov-report=term-missing:skip-covered --cov-fail-under=90

notebooks: .venv/ready  ## write the .ipynb anew from the .py, without outputs
	$(BIN)/jupytext --update --to ipynb --update-metadata '{"jupytext": null}' notebooks/*.py

picture: .venv/ready  ## draw the README's picture anew from the results
	@$(BIN)/python -m dpotox.run.picture --profile "$(PROFILE)" --seed "$(SEED)"

lint: .venv/ready  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: .venv/ready  ## measure speed; tables go to artifacts/benchmarks/ and book/measured/ (SHAPES="mini gpt2-medium")
	$(BIN)/python benchmarks/speed.py --shapes $(SHAPES) --batches $(BATCHES)
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/dpo_step.py
	$(BIN)/python benchmarks/where_time_goes.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/not_alone.py
	$(BIN)/python benchmarks/book.py --profile "$(PROFILE)" --seed "$(SEED)"
	$(BIN)/python benchmarks/table1.py --profile "$(PROFILE)"
	@for table in book/measured/*.csv; do cp artifacts/benchmarks/$${table##*/} $$table 2>/dev/null || true; done

audit:  ## look all pinned versions up in the advisory database (needs a network)
	@test -d .venv/audit || $(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	.venv/audit/bin/pip-audit --disable-pip --no-deps --strict -r constraints.txt

update:  ## try the newest versions that requirements.txt admits, in .venv/update, and run all tests with them
	@$(PYTHON) tests/update.py

.venv/ready: requirements.txt constraints.txt pyproject.toml
	@echo "creating the environment in .venv"
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not there; install Python 3.11 or give PYTHON=path"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:  ## remove everything that was made, but for the environment
	rm -rf _build artifacts
