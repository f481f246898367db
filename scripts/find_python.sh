#!/bin/sh
# Prints a Python that localvoice runs on, 3.11 to 3.14; says what to install where there is none.
# Usage: find_python.sh [PYTHON]: with an argument, only that one is tried.
set -eu

right_version() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

can_make_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

bare=
seen=
for candidate in ${1:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if right_version "$candidate"; then
        if can_make_venv "$candidate"; then
            command -v "$candidate"
            exit 0
        fi
        bare=${bare:-$candidate}
    elif version=$(version_of "$candidate"); then
        seen="$seen $candidate is $version;"
    fi
done

if [ -n "$bare" ]; then
    cat >&2 <<EOF
$bare has no venv module, which makes the folder that localvoice is installed in.
Install it, then run the same command again:
  Debian, Ubuntu   sudo apt install python$(version_of "$bare")-venv
  Fedora           sudo dnf install python3-libs
EOF
else
    cat >&2 <<EOF
localvoice needs Python 3.11, 3.12, 3.13 or 3.14, and none was found${1:+ at $1}.${seen:+ (Found:${seen%;}.)}
Install one, then run the same command again (PYTHON=/path/to/python names it, if make doesn't find it):
  Debian, Ubuntu   sudo apt install python3 python3-venv   (on an older release python3.11 python3.11-venv)
  Fedora           sudo dnf install python3
  macOS            brew install python@3.13   (or the installer from python.org)
EOF
fi
exit 1
