# `make` alone lists the targets. Works with GNU make 3.81 (macOS) and newer.

# The models: tiny, base, quality or gpu.
PROFILE ?= base
# More options for the command that a target runs, as in: make run ARGS="--port 9000"
ARGS ?=
# The Python to make .venv with; found by itself when empty.
PYTHON ?=
# 1 compiles llama-cpp-python for an NVIDIA GPU.
CUDA ?= $(if $(filter gpu,$(PROFILE)),1,0)

# What a proof runs with, unless PROFILE is given: what is shown doesn't depend on the models' size.
PROVED := $(if $(filter file,$(origin PROFILE)),tiny,$(PROFILE))
BIN := .venv/bin
gpu := $(if $(filter 1,$(CUDA)),-cuda)
RUNTIME := .venv/.installed$(gpu)
DEV := .venv/.installed-dev$(gpu)
PEERS := .venv-peers/.installed
TSC := build/page_types/node_modules/.bin/tsc
INSTALLER := scripts/install.py scripts/build_llama.py scripts/steps.py scripts/lean.cmake
LOCKS := scripts/requirements.lock scripts/requirements-dev.lock scripts/llama.lock scripts/build.lock

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install run talk download-models test test-unit lint types format docs bench bench-words bench-endpointing bench-threads bench-browser bench-tools bench-peers load soak fuzz prove-offline licences sbom audit bundle injections faults overload load-peers lock clean distclean FORCE

help: ## list the targets
	@echo "localvoice: a voice agent that runs wholly on this machine. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Options: PROFILE=tiny|base|quality|gpu (now $(PROFILE)), CUDA=0|1 (now $(CUDA)), PYTHON=..., ARGS=\"...\""

# One stamp file per kind of installation; install.py writes those that hold. pip runs only when one is older
# than what it depends on, or when the folder was moved, since .venv holds absolute paths.
$(RUNTIME) $(DEV): pyproject.toml $(INSTALLER) $(LOCKS)
	@python=$$(sh scripts/find_python.sh $(PYTHON)) && \
	"$$python" scripts/install.py $(if $(findstring -dev,$@),--dev) $(if $(gpu),--cuda)

ifneq ($(shell cat .venv/.checkout 2>/dev/null),$(CURDIR))
$(RUNTIME) $(DEV): FORCE
endif

install: $(RUNTIME) ## make .venv and install what is needed to run
	@echo "Installed in .venv."

run: $(RUNTIME) ## install, download the models of PROFILE, and serve the page to talk to
	@$(BIN)/localvoice models download --profile $(PROFILE)
	@$(BIN)/localvoice serve --profile $(PROFILE) $(ARGS)

talk: $(RUNTIME) ## the same conversation through microphone and loudspeaker, without a browser
	@$(BIN)/localvoice models download --profile $(PROFILE)
	@$(BIN)/localvoice talk --profile $(PROFILE) $(ARGS)

download-models: $(RUNTIME) ## download and verify the models of PROFILE; afterwards no network is needed
	@$(BIN)/localvoice models download --profile $(PROFILE)

test: $(DEV) ## all tests, with the models of the tiny profile and, where there is one, a Chromium
	@$(BIN)/localvoice models download --profile tiny
	$(BIN)/python scripts/run_tests.py $(ARGS)

test-unit: $(DEV) ## the fast tests, without models and browser
	PYTHONASYNCIODEBUG=1 $(BIN)/python -m pytest -m "not integration and not e2e" $(ARGS)

lint: $(DEV) ## check style and formatting
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(DEV) $(TSC) ## check the types, of the page as well
	$(BIN)/python -m mypy
	$(TSC) -p tests/support/page_types
	$(TSC) -p tests/support/page_types/tsconfig.worklet.json

# TypeScript as its lock file pins it.
$(TSC): tests/support/page_types/package.json tests/support/page_types/package-lock.json
	@command -v npm >/dev/null || { echo "The page's types need npm (Debian: apt install npm)." >&2; exit 1; }
	@mkdir -p build/page_types && cp tests/support/page_types/package*.json tests/support/page_types/.npmrc build/page_types
	@npm ci --prefix build/page_types
	@touch $@

format: $(DEV) ## format the code and mend what can be mended by itself
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

docs: $(DEV) ## build the documentation into build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "Built. Open build/docs/index.html."

bench: $(RUNTIME) ## measure the voice-to-voice time and each stage with PROFILE, against the goals
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/python scripts/bench.py --profile $(PROFILE) $(ARGS)

bench-words: $(RUNTIME) ## count wrong words and time of PROFILE's speech recognition, ours and the stock way
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/python scripts/bench_words.py --profile $(PROFILE) $(ARGS)

bench-endpointing: $(RUNTIME) ## measure how soon the end of a turn is known, and how often a pause is taken for it
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/python scripts/bench_endpointing.py --profile $(PROFILE) $(ARGS)

bench-threads: $(RUNTIME) ## measure PROFILE's engines under our thread plan and under others
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/python scripts/bench_threads.py --profile $(PROFILE) $(ARGS)

bench-browser: $(DEV) ## measure what a real Chromium adds to the voice-to-voice time, and what our client adds
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/python scripts/bench_browser.py --profile $(PROFILE) $(ARGS)

bench-tools: $(RUNTIME) ## measure how reliably PROFILE chooses between calling a tool and talking
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/python scripts/bench_tools.py --profile $(PROFILE) $(ARGS)

bench-peers: $(RUNTIME) $(PEERS) ## measure localvoice beside a naive pipeline and pipecat, on the models of PROFILE
	@$(BIN)/localvoice models download --profile $(PROFILE)
	PYTHONPATH=scripts $(BIN)/python -m peers.run --profile $(PROFILE) $(ARGS)

load: $(DEV) ## measure what attackers cost a client that behaves
	$(BIN)/python scripts/load.py $(ARGS)

soak: $(RUNTIME) ## 1,000 connections that come and go, then half an hour of turns: what is left behind
	@$(BIN)/localvoice models download --profile $(PROVED)
	$(BIN)/python scripts/soak.py --profile $(PROVED) $(ARGS)

overload: $(DEV) ## measure what those who are refused cost those who are served; ARGS="--profile base" with models
	$(BIN)/python scripts/overload.py $(ARGS)

load-peers: $(DEV) ## let 20 WebRTC clients speak and be spoken to for ten minutes: frames, delays, processor
	$(BIN)/python scripts/duplex.py $(ARGS)

fuzz: $(DEV) ## send 100,000 broken messages, offers, candidates and packets each to a server; takes hours
	$(BIN)/pytest tests/transports/webrtc/test_fuzz.py tests/transports/webrtc/test_packet_fuzz.py --fuzz 100000 --timeout 0 $(ARGS)

injections: $(DEV) ## try 50 prompt injections on the language model of PROFILE
	@$(BIN)/localvoice models download --profile $(PROFILE)
	$(BIN)/pytest tests/conversation/test_injection.py tests/conversation/test_injection_models.py --injections $(PROFILE) --timeout 0 $(ARGS)

faults: $(DEV) ## cut connections and send signals at every stage of a turn, 50 times where it is random
	@$(BIN)/localvoice models download --profile tiny
	$(BIN)/pytest tests/server/test_vanishing.py tests/server/test_vanishing_unread.py tests/transports/test_packet_liveness.py tests/server/test_reconnects.py tests/process/test_signals.py tests/transports/test_cable.py tests/e2e/test_muted.py tests/e2e/test_server_goes.py --faults 50 -rP $(ARGS)

prove-offline: $(RUNTIME) ## show that PROFILE (here: tiny) converses with the network off, and asks nobody with it on
	@$(BIN)/localvoice models download --profile $(PROVED)
	@$(BIN)/python scripts/prove_offline.py --profile $(PROVED) $(ARGS)

licences: $(DEV) ## show the licences of all that runs with PROFILE; one that isn't agreed to is an error
	@$(BIN)/python scripts/licences.py --profile $(PROFILE) $(ARGS)

sbom: $(DEV) ## write dist/sbom-PROFILE.cdx.json, the packages and model files that run, as CycloneDX
	@$(BIN)/python scripts/sbom.py --profile $(PROFILE) $(ARGS)

audit: $(DEV) ## ask whether vulnerabilities are known of the packages that run
	@$(BIN)/python scripts/audit.py $(ARGS)

bundle: $(DEV) ## make a folder in dist/ that installs localvoice and the models of PROFILE without a network
	@$(BIN)/localvoice models download --profile $(PROFILE)
	@$(BIN)/python scripts/bundle.py --profile $(PROFILE) $(if $(gpu),--cuda) $(ARGS)

# pipecat in an environment of its own, made anew when its lock has changed.
$(PEERS): scripts/peers/requirements.lock | $(RUNTIME)
	@echo "Installing pipecat in .venv-peers ..."
	@rm -rf .venv-peers && $(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@.venv-peers/bin/python -m pip check --disable-pip-version-check
	@touch $@

lock: ## make the lock files anew after a change of pyproject.toml; UPGRADE=1 takes the newest of everything
	sh scripts/lock.sh $(PYTHON)

clean: ## remove caches and build results
	rm -rf build dist bench-results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find localvoice scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also remove .venv, .venv-peers and the downloaded models
	rm -rf .venv .venv-peers
	find models -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
