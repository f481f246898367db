#!/bin/sh
# Makes the lock files in scripts/ from pyproject.toml, scripts/install.in and scripts/build.in.
# Usage: lock.sh [PYTHON]. Pins that still fit stay as they are; UPGRADE=1 takes the newest of everything.
set -eu
cd "$(dirname "$0")/.."

if ! uv=$(command -v uv); then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    echo "Fetching uv, which resolves the locks ..."
    python=$(sh scripts/find_python.sh "$@")
    "$python" -m venv "$scratch"
    "$scratch/bin/python" -m pip install --quiet uv==0.13.8
    uv=$scratch/bin/uv
fi

# compile OUTPUT ARGUMENT...: one lock for every platform and Python from 3.11 on; the same versions on all of
# them ("fewest"), because the tests run on one.
compile() {
    echo "  $1"
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-emit-index-url --custom-compile-command "make lock" ${UPGRADE:+--upgrade} \
        --output-file "$@" >/dev/null
}

# llama-cpp-python has a lock of its own: it is compiled apart from the others (scripts/build_llama.py).
compile scripts/requirements.lock --no-emit-package llama-cpp-python pyproject.toml scripts/install.in
compile scripts/requirements-dev.lock --no-emit-package llama-cpp-python --group dev --all-extras \
    --constraint scripts/requirements.lock pyproject.toml scripts/install.in
grep -o 'llama-cpp-python==[0-9.]*' pyproject.toml | compile scripts/llama.lock --no-deps --no-annotate -
compile scripts/build.lock scripts/build.in
