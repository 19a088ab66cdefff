# Sourced by install and uninstall: where things go, and how each step is said and done.

readonly service=mobync-hub
readonly units=("$service.service" "$service.socket" "$service-http.socket")
readonly opt=/opt/$service etc=/etc/$service state=/var/lib/$service
readonly unit_folder=/etc/systemd/system command_link=/usr/local/bin/$service
readonly sysusers=/usr/lib/sysusers.d/$service.conf

root=
dry=no

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

usage() {
    sed -n '2,/^set -/ { /^set -/d; s/^# \{0,1\}//p }' "$0"
}

read_arguments() {
    while [[ $# -gt 0 ]]; do
        case $1 in
        --dry-run) dry=yes ;;
        --root) [[ -d ${2:-} ]] || fail "--root needs a folder that is there."; root=$(realpath "$2") && shift ;;
        -h | --help) usage && exit 0 ;;
        *) fail "$1 is nothing that this knows." "See $0 --help" ;;
        esac
        shift
    done
    [[ $root != / ]] || root=
}

# Writing into the system needs root; looking at what would be done does not.
need_root() {
    [[ $dry == yes || -n $root || $(id -u) -eq 0 ]] ||
        fail "This changes the system, and so has to be run as root." \
            "To see what it would do: $0 --dry-run"
}

# step WORDS COMMAND...: says it, and does it, unless it is only to be said.
step() {
    local words=$1
    shift
    if [[ $dry == yes ]]; then
        printf 'would: %s\n' "$words"
    else
        printf '%s\n' "$words"
        "$@"
    fi
}

# systemd runs here, and it is its own system that is changed.
systemd_runs() {
    [[ -z $root && -d /run/systemd/system ]]
}
