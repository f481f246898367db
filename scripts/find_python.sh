#!/bin/sh
# Prints a Python that localvoice runs on, 3.11 to 3.14; says what to install where there is none.
# Usage: find_python.sh [PYTHON]: with an argument, only that one is tried.
set -eu
found=
for python in ${1:-python3 python3.14 python3.13 python3.12 python3.11}; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case $version in
    3.1[1-4])
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && command -v "$python" && exit
        bare=${bare:-$python} bare_version=${bare_version:-$version} ;;
    *) found="$found $python is $version;" ;;
    esac
done

if [ -n "${bare:-}" ]; then
    cat >&2 <<EOF
$bare has no venv module, which makes the folder that localvoice is installed in.
Install it, then run the same command again:
  Debian, Ubuntu   sudo apt install python$bare_version-venv
  Fedora           sudo dnf install python3-libs
EOF
else
    cat >&2 <<EOF
localvoice needs Python 3.11, 3.12, 3.13 or 3.14, and none was found${1:+ at $1}.${found:+ (Found:${found%;}.)}
Install one, then run the same command again (PYTHON=/path/to/python names it, if make doesn't find it):
  Debian, Ubuntu   sudo apt install python3 python3-venv   (on an older release python3.11 python3.11-venv)
  Fedora           sudo dnf install python3
  macOS            brew install python@3.13   (or the installer from python.org)
EOF
fi
exit 1
