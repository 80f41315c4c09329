.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NAME ?=

##@ Start here
.PHONY: demo demo-life demo-databases test
demo: setup ## The story: a task gets a credential, uses it and loses it, on a real cluster
	$(BIN)/python -m e2e.demo $(if $(NAME),--name $(NAME))
demo-life: setup ## The long life of a task: approval, suspension, delegation, a policy that goes, a kill switch
	$(BIN)/python -m e2e.demo --life $(if $(NAME),--name $(NAME))
demo-databases: setup ## A role in a PostgreSQL database: an agent reads, its transaction is cut, the role is gone
	$(BIN)/python -m e2e.demo --databases $(if $(NAME),--name $(NAME))
test: ## Everything, the cluster included (the README's test command)
	@$(PYTHON) hack/steps.py setup lint types imports unit tools -- chart slow -- e2e-node e2e-faults -- e2e-plane databases

##@ Everyday (no cluster, no network, seconds)
.PHONY: setup fmt lint types imports unit databases slow chart check pictures
setup: $(READY) ## Python environment with locked, hashed dependencies
$(READY): requirements/run.lock requirements/dev.lock
	@$(PYTHON) hack/environment.py $(VENV)
fmt: setup ## Format and fix what can be fixed
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
lint: setup ## Style, security and docstring checks
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
types: setup ## mypy --strict
	$(BIN)/mypy
imports: setup ## The dependency direction (pyproject.toml, [tool.importlinter])
	$(BIN)/lint-imports
unit: setup ## Unit, contract, API and simulation tests that are fast; T=path, K=pattern
	$(BIN)/python -m pytest -m "not slow" $(or $(T),tests --ignore=tests/chart --ignore=tests/contract/postgresql) $(if $(K),-k "$(K)")
databases: setup ## Tests of the provider PostgreSQL, on a server that they start; Debian's is installed where there is none
	$(BIN)/python -m pytest -m "not slow" tests/contract/postgresql
slow: setup ## Those that take longer: crashes, flipped bits, random walks; they give way to e2e beside them
	nice $(BIN)/python -m pytest -m slow tests
chart: tools ## Tests of the chart, by helm template
	nice $(BIN)/python -m pytest tests/chart
check: ## What a change must pass before review
	@$(PYTHON) hack/steps.py setup lint types imports unit
pictures: setup ## Draw docs/pictures/*.svg from *.d2 beside them; the first time D2 is built, a minute
	@nice $(BIN)/python -m hack.pictures

##@ The cluster (NAME=… for several side by side; CLUSTER=context:… to use one of yours)
.PHONY: tools cluster cluster-down image e2e e2e-node e2e-plane e2e-faults bench soak
NODE_CASES := e2e/cases/cluster e2e/cases/demo e2e/cases/install
FLOODS := e2e/cases/floods e2e/cases/fairness
FAULTS := e2e/cases/faults e2e/cases/bench e2e/cases/databases
tools: setup ## helm, built once per machine
	$(BIN)/python -m e2e.cluster tools
cluster: setup ## Start a cluster: kind where an engine answers, else Kubernetes built from its Go modules
	$(BIN)/python -m e2e.cluster up $(if $(NAME),--name $(NAME))
cluster-down: setup ## Stop it; nothing is left behind
	$(BIN)/python -m e2e.cluster down $(if $(NAME),--name $(NAME))
image: setup ## localhost/taskpass:dev as an OCI archive, without an engine
	$(BIN)/python -m e2e.image
e2e: setup ## Tests on a real cluster; T=path, K=pattern
	$(BIN)/python -m pytest $(or $(T),e2e/cases) $(if $(K),-k "$(K)")
e2e-node: setup ## Of those, what needs a node
	$(BIN)/python -m pytest $(NODE_CASES)
e2e-plane: setup ## Of those, what a control plane is enough for
	$(BIN)/python -m pytest e2e/cases $(patsubst %,--ignore=%,$(NODE_CASES) $(FLOODS) $(FAULTS))
e2e-faults: setup ## Of those, the ones that wait most: faults, and a short run of the benchmark
	TASKPASS_PLANE=faults $(BIN)/python -m pytest $(FAULTS)
bench: setup tools ## Load, with the floor of bare calls beside it; ARGS="--rates 5 --seconds 10 --live 100" for less
	$(BIN)/python -m bench $(if $(NAME),--name $(NAME)) $(ARGS)
	$(BIN)/python -m bench.ledger
	$(BIN)/python -m bench.files
	$(BIN)/python -m bench.postgresql
PARTS := simulation lives machine decisions admission mutations faults floods ledger postgresql kills chaos cluster
soak: $(PARTS:%=$(if $(PART),,soak-%)) $(if $(PART),soak-$(PART)) ## What takes long, each part under 40 minutes; PART=simulation (lives, machine, decisions, admission, mutations, faults, floods, ledger, postgresql, kills, chaos, cluster), MINUTES=60
.PHONY: $(PARTS:%=soak-%)
soak-simulation: setup
	$(BIN)/python -m tests.simulation.soak 1000 $(or $(SEED),1)
soak-lives: setup
	$(BIN)/python -m tests.simulation.lives $(or $(LIVES),10000) $(or $(SEED),1)
soak-machine: setup
	TASKPASS_SEQUENCES=10000 $(BIN)/python -m pytest -m slow tests/simulation/test_machine.py
	TASKPASS_SEQUENCES=2000 $(BIN)/python -m pytest -m slow tests/simulation/test_lagging_machine.py
soak-decisions: setup
	$(BIN)/python -m hack.mutants --minutes 28
soak-admission: setup tools
	TASKPASS_ATTACKS=600 $(BIN)/python -m pytest e2e/cases/attacks/test_generated.py
soak-mutations: setup tools
	$(BIN)/python -m e2e.mutations --minutes 30
soak-faults: setup tools
	TASKPASS_FAULTS=all $(BIN)/python -m pytest e2e/cases/faults/test_every_loop.py
soak-ledger: setup
	$(BIN)/python -m tests.unit.ledger.tampering --all >/dev/null
	TASKPASS_STRIDE=1 $(BIN)/python -m pytest tests/unit/ledger/test_flips.py
soak-postgresql: setup
	$(BIN)/python -m e2e.postgresql $(VERSIONS)
soak-kills: setup tools
	$(BIN)/python -m e2e.soak.kills
soak-floods: setup tools
	$(BIN)/python -m pytest $(FLOODS)
soak-chaos: setup tools
	$(BIN)/python -m e2e.soak.chaos
soak-cluster: setup tools
	$(BIN)/python -m e2e.soak --minutes $(or $(MINUTES),10) $(if $(NAME),--name $(NAME)) $(ARGS)

##@ Dependencies
.PHONY: lock
lock: ## Resolve again what requirements/*.lock pin (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header --quiet -o requirements/run.lock
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes --no-header --quiet -c requirements/run.lock -o requirements/dev.lock

.PHONY: help
help: ## This text
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2} /^##@/ {printf "\n%s\n", substr($$0, 5)}' $(MAKEFILE_LIST)
