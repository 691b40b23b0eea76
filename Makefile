# The two commands: `make book` and `make test`. Both create the environment if need be.

PROFILE ?= mini
SEED ?= 0
SEEDS ?= $(SEED)
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: book test notebooks picture lint benchmark clean
.DELETE_ON_ERROR:

book: .venv/ready  ## make every step, execute the notebooks and build _build/html/index.html
	@$(BIN)/python -m dpotox.book --profile "$(PROFILE)" --seeds $(SEEDS)

test: .venv/ready  ## run all tests
	$(BIN)/python -m pytest

notebooks: .venv/ready  ## write the .ipynb anew from the .py, without outputs
	$(BIN)/jupytext --to ipynb --update-metadata '{"jupytext": null}' notebooks/*.py

picture: .venv/ready  ## draw the README's picture anew from the results
	@$(BIN)/python -m dpotox.picture --profile "$(PROFILE)" --seed "$(SEED)"

lint: .venv/ready  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: .venv/ready  ## time and memory of `make book`, from nothing and when nothing changed
	$(BIN)/python benchmarks/book.py --profile "$(PROFILE)" --seed "$(SEED)"

.venv/ready: requirements.txt constraints.txt pyproject.toml
	@echo "creating the environment in .venv"
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not there; install Python 3.11 or give PYTHON=path"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -c constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:  ## remove everything that was made, but for the environment
	rm -rf _build artifacts
