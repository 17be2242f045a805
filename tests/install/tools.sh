# For those beside it: what they say when they fail or leave something out.

wrong() {
    echo "$0: $*" >&2
    exit 1
}

# left_out WHY: with SIGWARD_REQUIRE_ALL it is an error.
left_out() {
    echo "$0: left out: $*" >&2
    [ -z "${SIGWARD_REQUIRE_ALL:-}" ] || exit 1
}

# have COMMAND PACKAGE [FOR]: whether it is installed.
have() {
    command -v "$1" >/dev/null && return
    left_out "${3:+$3: }$1 is not installed (apt-get install $2)"
    return 1
}
