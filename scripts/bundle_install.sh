#!/bin/sh
# Installs localvoice from this folder, without any network. Usage: sh install.sh [FOLDER]
# FOLDER (by default ./localvoice) gets the environment, the models and the command. PYTHON=... names the Python.
set -eu
bundle=$(cd "$(dirname "$0")" && pwd)
target=${1:-localvoice}
wanted=@PYTHON@

fail() {
    echo "$*" >&2
    exit 1
}

machine=$(uname -s)-$(uname -m)
[ "$machine" = "@SYSTEM@" ] || fail "This bundle is for @SYSTEM@, and this machine is $machine."

echo "1/4 Checking every file of the bundle"
if command -v sha256sum >/dev/null; then
    sums="sha256sum"
elif command -v shasum >/dev/null; then
    sums="shasum -a 256"
else
    fail "There is no sha256sum (Debian: apt install coreutils), so the bundle can't be checked."
fi
if ! found=$(cd "$bundle" && $sums -c SHA256SUMS 2>/dev/null); then
    echo "$found" | grep -v ': OK$' >&2 || true
    fail "The bundle is damaged or not whole: see the files above. Copy it again. Nothing was installed."
fi

python=${PYTHON:-python$wanted}
command -v "$python" >/dev/null || python=python3
command -v "$python" >/dev/null || fail "There is no Python $wanted (Debian: apt install python3 python3-venv)."
have=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$have" = "$wanted" ] ||
    fail "This bundle is for Python $wanted, and $python is $have. Name another one: PYTHON=... sh install.sh"

mkdir -p "$target"
target=$(cd "$target" && pwd)
echo "2/4 Python environment, in $target/venv"
"$python" -m venv --clear "$target/venv" ||
    fail "Python can't make an environment (Debian: apt install python3-venv)."

echo "3/4 Packages, each checked against requirements.txt"
"$target/venv/bin/python" -m pip install --quiet --isolated --disable-pip-version-check --no-index \
    --no-cache-dir --find-links "$bundle/wheels" --no-deps --require-hashes -r "$bundle/requirements.txt"
lacking=$("$target/venv/bin/python" -m pip check --disable-pip-version-check) ||
    fail "The bundle lacks packages, so make it again on the other machine: $lacking"

echo "4/4 Models of profile @PROFILE@, in $target/models"
(cd "$bundle/models" && find . -type f) | while read -r file; do
    mkdir -p "$target/models/$(dirname "$file")"
    # A link costs no space, where both are on one disk.
    ln -f "$bundle/models/$file" "$target/models/$file" 2>/dev/null ||
        cp "$bundle/models/$file" "$target/models/$file"
done

cat >"$target/localvoice" <<COMMAND
#!/bin/sh
LOCALVOICE_MODELS_DIR=\${LOCALVOICE_MODELS_DIR:-'$target/models'}
LOCALVOICE_PROFILE=\${LOCALVOICE_PROFILE:-@PROFILE@}
export LOCALVOICE_MODELS_DIR LOCALVOICE_PROFILE
exec '$target/venv/bin/localvoice' "\$@"
COMMAND
chmod +x "$target/localvoice"
echo "Installed. Start it: $target/localvoice serve"
