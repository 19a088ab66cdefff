# Sourced by run and test: makes .venv and installs this project into it, once for each change of
# pyproject.toml. Sets root (this checkout) and venv; PYTHON names the Python to use, if not found.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if is_new_enough "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    fail "No Python 3.11 or newer was found." "Install one, or name it: PYTHON=/path/to/python3 $0"
}

# A venv that was begun and not finished, or whose Python is gone, is made again.
make_venv() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    local python
    python=$(find_python)
    echo "Making $venv with $("$python" --version)" >&2
    "$python" -m venv --clear "$venv" ||
        fail "The venv could not be made." "On Debian and Ubuntu: apt-get install python3-venv"
}

# What an installation depends on: where it is, since it is editable, and what it asks for.
installed_from() {
    printf '%s\n' "$root"
    cat "$root/pyproject.toml"
}

# install_project NAME WHAT: installs WHAT (a path, perhaps with extras) unless the stamp NAME says
# that just this is there.
install_project() {
    local stamp=$venv/$1.installed
    make_venv
    installed_from | cmp -s - "$stamp" && return
    echo "Installing mobync-hub into $venv ($1)" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$2" ||
        fail "The installation failed; what pip says is above." "Is the package index reachable?"
    installed_from >"$stamp"
}
