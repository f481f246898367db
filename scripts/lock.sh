#!/bin/sh
# Re-makes the lock files in scripts/ from pyproject.toml, scripts/install.in and scripts/build.in.
# Usage: lock.sh [PYTHON]. Pins that still fit stay as they are; UPGRADE=1 takes the newest of everything.
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.8

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! uv=$(command -v uv); then
    echo "Fetching uv $UV_VERSION, which resolves the locks ..."
    python=$(sh scripts/find_python.sh ${1:+"$1"})
    "$python" -m venv "$scratch/uv"
    "$scratch/uv/bin/python" -m pip install --quiet "uv==$UV_VERSION"
    uv=$scratch/uv/bin/uv
fi

# compile OUTPUT ARGUMENT...: one lock for every platform and Python from 3.11 on; the same versions on all of
# them ("fewest"), because the tests run on one.
compile() {
    output=$1
    shift
    echo "  $output"
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --custom-compile-command "make lock" ${UPGRADE:+--upgrade} \
        --output-file "$output" "$@" >/dev/null
}

# llama-cpp-python has a lock of its own: it is compiled apart from the others (scripts/build_llama.py).
compile scripts/requirements.lock --no-emit-package llama-cpp-python pyproject.toml scripts/install.in
compile scripts/requirements-dev.lock --no-emit-package llama-cpp-python --group dev --all-extras \
    --constraint scripts/requirements.lock pyproject.toml scripts/install.in
grep -o 'llama-cpp-python==[0-9.]*' pyproject.toml >"$scratch/llama.in"
compile scripts/llama.lock --no-deps --no-annotate "$scratch/llama.in"
compile scripts/build.lock scripts/build.in
