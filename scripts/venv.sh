# Sourced by run, test and others: makes .venv and installs this project into it, just what its lock
# file pins, once for each change of that. Sets root (this checkout) and venv; PYTHON names the
# Python to use, if not found.

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
    cat "$root/pyproject.toml" "$root/$1"
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ||
        fail "The installation failed; what pip says is above." "Is the package index reachable?"
}

# install_locked NAME LOCK: installs what LOCK pins, each file checked by its hash, unless the stamp
# NAME says that just this is there.
install_locked() {
    make_venv
    installed_from "$2" | cmp -s - "$venv/$1.installed" && return
    echo "Installing $2 into $venv ($1)" >&2
    pip_install --require-hashes --requirement "$root/$2"
}

# install_project NAME LOCK: and this project, by the build backend that the lock pins, too.
install_project() {
    make_venv
    installed_from "$2" | cmp -s - "$venv/$1.installed" && return
    install_locked "$1" "$2"
    pip_install --no-deps --no-build-isolation --no-index --editable "$root"
    installed_from "$2" >"$venv/$1.installed"
}

# The tools that look at dependencies have many of their own, and so an environment of their own.
use_audit_tools() {
    venv=$root/.venv-audit
    install_locked audit requirements-audit.lock
    installed_from requirements-audit.lock >"$venv/audit.installed"
}
