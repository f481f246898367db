# `make` alone lists the targets. Works with GNU make 3.81 (macOS) and newer.

# The models: tiny, base, quality or gpu; auto is the best of them for this machine.
PROFILE ?= auto
# More options for the command that a target runs, as in: make run ARGS="--port 9000"
ARGS ?=
# The Python to make .venv with; found by itself when empty.
PYTHON ?=
# 1 compiles llama-cpp-python for an NVIDIA GPU: for the profile gpu, and for auto where there is one, and the
# compiler for it.
ifndef CUDA
CUDA := $(if $(filter gpu,$(PROFILE)),1,0)
ifeq ($(PROFILE),auto)
CUDA := $(shell command -v nvidia-smi >/dev/null && command -v nvcc >/dev/null && echo 1 || echo 0)
endif
endif

# A profile that was given. Without one, what is measured, listed or packed is the same on every machine: base.
# What a proof shows doesn't depend on the models' size: it takes tiny.
GIVEN := $(if $(filter file,$(origin PROFILE)),,$(filter-out auto,$(PROFILE)))
NAMED := $(or $(GIVEN),base)
PROVED := $(or $(GIVEN),tiny)
BIN := .venv/bin
gpu := $(if $(filter 1,$(CUDA)),-cuda)
RUNTIME := .venv/.installed$(gpu)
DEV := .venv/.installed-dev$(gpu)
PEERS := .venv-peers/.installed
TSC := build/page_types/node_modules/.bin/tsc
INSTALLER := scripts/install.py scripts/build_llama.py scripts/steps.py scripts/lean.cmake
LOCKS := scripts/requirements.lock scripts/requirements-dev.lock scripts/llama.lock scripts/build.lock

# What `make bench` and `make prove` take as WHAT; the first is what they do without it.
WHAT ?=
BENCHES := latency words endings tools caches soak trace
PROOFS := offline faults fuzz injections
benched := $(or $(WHAT),$(firstword $(BENCHES)))
proven := $(or $(WHAT),$(firstword $(PROOFS)))
space := $(subst ,, )
unknown = $(if $(filter $(2),$(WHAT)),,$(error There is no WHAT=$(WHAT) for `make $(1)`: give one of $(2)))
ifneq ($(WHAT),)
$(if $(filter bench,$(MAKECMDGOALS)),$(call unknown,bench,$(BENCHES)))
$(if $(filter prove,$(MAKECMDGOALS)),$(call unknown,prove,$(PROOFS)))
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run talk download-models bundle install test test-unit lint types format docs licences sbom audit lock clean distclean bench bench-mind bench-peers prove FORCE

define HELP
localvoice, a voice agent that runs wholly on this machine. To use it:
  make run              install, download the models of PROFILE, serve the page
  make talk             the same by microphone and loudspeaker, no browser
  make download-models  download the models of PROFILE; then it runs offline
  make bundle           make a folder that installs all of it without a network
To develop it:
  make install          make .venv with what is needed to run
  make test test-unit   run all tests; run those without models and browser
  make lint types       check style and formatting; check the types
  make format           format the code, and correct what ruff can correct
  make docs             build the documentation into build/docs
  make licences         list the licences of PROFILE; an unknown one is an error
  make sbom audit       write a bill of materials; ask for known vulnerabilities
  make lock             write the lock files again, UPGRADE=1 with new packages
  make clean distclean  remove results; also remove .venv and the models
To measure it:
  make bench            WHAT=$(subst $(space),|,$(BENCHES))
  make bench-mind       how useful its answers are, on requests of 20 kinds
  make bench-peers      compare it with a plain pipeline and pipecat
  make prove            WHAT=$(subst $(space),|,$(PROOFS))
  make help             show this
Options: PROFILE=auto|tiny|base|quality|gpu (now $(PROFILE)), CUDA=0|1 (now $(CUDA)),
         PYTHON=path, ARGS="more options", as in: make run ARGS="--port 9000"
auto is the best for this machine; bench, bundle, licences, sbom take base then.
endef

help:
	$(info $(HELP))
	@:

# One stamp file per kind of installation; install.py writes those that hold. pip runs only when one is older
# than what it depends on, or when the folder was moved, since .venv holds absolute paths.
$(RUNTIME) $(DEV): pyproject.toml $(INSTALLER) $(LOCKS)
	@python=$$(sh scripts/find_python.sh $(PYTHON)) && \
	"$$python" scripts/install.py $(if $(findstring -dev,$@),--dev) $(if $(gpu),--cuda)

ifneq ($(shell cat .venv/.checkout 2>/dev/null),$(CURDIR))
$(RUNTIME) $(DEV): FORCE
endif

install: $(RUNTIME)
	@echo "Installed in .venv."

run: $(RUNTIME)
	@$(BIN)/localvoice models download --profile $(PROFILE)
	@$(BIN)/localvoice serve --profile $(PROFILE) $(ARGS)

talk: $(RUNTIME)
	@$(BIN)/localvoice models download --profile $(PROFILE)
	@$(BIN)/localvoice talk --profile $(PROFILE) $(ARGS)

download-models: $(RUNTIME)
	@$(BIN)/localvoice models download --profile $(PROFILE)

test: $(DEV)
	@$(BIN)/localvoice models download --profile tiny
	$(BIN)/python scripts/run_tests.py $(ARGS)

test-unit: $(DEV)
	PYTHONASYNCIODEBUG=1 $(BIN)/python -m pytest -m "not integration and not e2e" $(ARGS)

lint: $(DEV)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(DEV) $(TSC)
	$(BIN)/python -m mypy
	$(TSC) -p tests/support/page_types
	$(TSC) -p tests/support/page_types/tsconfig.worklet.json

# TypeScript as its lock file pins it.
$(TSC): tests/support/page_types/package.json tests/support/page_types/package-lock.json
	@command -v npm >/dev/null || { echo "The page's types need npm (Debian: apt install npm)." >&2; exit 1; }
	@mkdir -p build/page_types && cp tests/support/page_types/package*.json tests/support/page_types/.npmrc build/page_types
	@npm ci --prefix build/page_types
	@touch $@

format: $(DEV)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

docs: $(DEV)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "Built. Open build/docs/index.html."

# A trace has no models, but the tests' scripted engines; the models of caches are made of random numbers.
benched_with := $(if $(filter trace caches,$(benched)),,--profile $(if $(filter soak,$(benched)),$(PROVED),$(NAMED)))
bench: $(if $(benched_with),$(RUNTIME),$(DEV))
	$(if $(benched_with),@$(BIN)/localvoice models download $(benched_with))
	$(BIN)/python -m benchmarks $(benched) $(benched_with) $(ARGS)

bench-mind: $(RUNTIME)
	@$(BIN)/localvoice models download --profile $(NAMED)
	$(BIN)/python -m benchmarks mind --profile $(NAMED) $(ARGS)

bench-peers: $(RUNTIME) $(PEERS)
	@$(BIN)/localvoice models download --profile $(NAMED)
	$(BIN)/python -m benchmarks peers --profile $(NAMED) $(ARGS)

prove: $(if $(filter offline,$(proven)),$(RUNTIME),$(DEV))
	$(if $(proven_with),@$(BIN)/localvoice models download --profile $(proven_with))
	$(prove_$(proven)) $(ARGS)

proven_with = $(with_$(proven))
with_offline = $(PROVED)
with_faults = tiny
with_injections = $(NAMED)
# The server under strace, with the network off and on.
prove_offline = $(BIN)/python -m benchmarks offline --profile $(PROVED)
# Connections are cut and signals sent at every stage of a turn, 50 times where it is random.
prove_faults = $(BIN)/pytest tests/server/test_vanishing.py tests/server/test_vanishing_unread.py tests/transports/test_packet_liveness.py tests/server/test_reconnects.py tests/process/test_signals.py tests/transports/test_cable.py tests/e2e/test_muted.py tests/e2e/test_server_goes.py --faults 50 -rP
# 100,000 broken messages, offers, candidates and packets each, which takes hours.
prove_fuzz = $(BIN)/pytest tests/transports/webrtc/test_fuzz.py tests/transports/webrtc/test_packet_fuzz.py --fuzz 100000 --timeout 0
# 50 prompt injections on the LLM of PROFILE.
prove_injections = $(BIN)/pytest tests/conversation/test_injection.py tests/conversation/test_injection_models.py --injections $(NAMED) --timeout 0

licences: $(DEV)
	@$(BIN)/python scripts/licences.py --profile $(NAMED) $(ARGS)

sbom: $(DEV)
	@$(BIN)/python scripts/sbom.py --profile $(NAMED) $(ARGS)

audit: $(DEV)
	@$(BIN)/python scripts/audit.py $(ARGS)

bundle: $(DEV)
	@$(BIN)/localvoice models download --profile $(NAMED)
	@$(BIN)/python scripts/bundle.py --profile $(NAMED) $(if $(gpu),--cuda) $(ARGS)

# pipecat in an environment of its own, made again when its lock has changed.
$(PEERS): scripts/peers/requirements.lock | $(RUNTIME)
	@echo "Installing pipecat in .venv-peers ..."
	@rm -rf .venv-peers && $(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@.venv-peers/bin/python -m pip check --disable-pip-version-check
	@touch $@

lock:
	sh scripts/lock.sh $(PYTHON)

clean:
	rm -rf build dist bench-results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find localvoice scripts benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-peers
	find models -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
