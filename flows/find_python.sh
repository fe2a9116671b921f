#!/bin/sh
# Print the Python that `make` installs with: the newest of 3.13, 3.12 and 3.11 that works. Exit status 1, and one message
# that says what was looked for, what was found and what to install, where there is none.
#
# It works when it starts, is one of these versions, and can make an environment (modules venv and ensurepip: Debian has
# them in a package of their own). A pyenv shim of a version that is not switched on answers "command not found": it does
# not work, and the next one is tried.
set -u

versions="3.13 3.12 3.11" found=""

note() { found="$found
  $1"; }

for command in $(for version in $versions; do echo "python$version"; done) python3 python python3.14; do
    place=$(command -v "$command" 2>/dev/null) || continue
    # </dev/null: nothing may ask; -I: nothing that the user has set for other installations counts
    has=$("$place" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null) || has=""
    case "${has:+ $versions }" in
    *" $has "*) ;;
    "") note "$place: does not start" && continue ;;
    *) note "$place: Python $has, which the project is not tested with" && continue ;;
    esac
    if ! "$place" -I -c 'import venv, ensurepip' 2>/dev/null </dev/null; then
        note "$place: Python $has without the modules venv and ensurepip (Debian, Ubuntu: apt install python$has-venv)"
        continue
    fi
    echo "$place"
    exit 0
done

echo >&2 "make: no Python to install with. Looked for: python3.13, python3.12, python3.11, python3 and python, of one of these
versions, with the modules venv and ensurepip. Found:${found:- nothing}
Install one, then try again:
  Debian, Ubuntu:  sudo apt install python3 python3-venv
  Fedora:          sudo dnf install python3.13
  macOS:           brew install python@3.13
  with uv:         uv python install 3.13, then: make PYTHON=\"\$(uv python find 3.13)\" demo
or name one that lies elsewhere: make PYTHON=/path/to/python3.12 demo"
exit 1
