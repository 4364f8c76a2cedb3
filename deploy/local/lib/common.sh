# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# Words, waiting, locking and the folders; sourced by deploy/local/cluster and deploy/images/build.

# Everything that is made here lies outside the checkout, so that a fresh clone on the same machine finds it again.
base=${SPARKBATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sparkbatch}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# What ends a script without a word of its own is at least named.
set -E
trap 'say "error: failed at ${BASH_SOURCE[0]##*/} line $LINENO: $BASH_COMMAND"' ERR

# The path ends up in TOML, YAML, kubeconfigs and (with a name added) in socket addresses, which hold 107 characters.
check_base() {
  [[ $base == /* ]] || die "the cache folder must be an absolute path, not '$base' (SPARKBATCH_CACHE)"
  [[ $base =~ ^[A-Za-z0-9_./+@-]+$ ]] || die "the cache folder '$base' has characters that do not pass through configuration files; set SPARKBATCH_CACHE"
  ((${#base} <= 70)) || die "the cache folder '$base' is too long for sockets in it; set SPARKBATCH_CACHE to a shorter one"
  mkdir -p "$base"
}

# step TEXT COMMAND…: runs the command and says what it does and how long it took.
step() {
  local text=$1 before=${EPOCHREALTIME/[.,]/} spent
  shift
  say "  $text …"
  "$@"
  spent=$(((${EPOCHREALTIME/[.,]/} - before) / 100000))
  say "  $text: $((spent / 10)).$((spent % 10)) s"
}

# quietly LOG COMMAND…: keeps the output of a long command in a file, and shows its end only if the command fails.
quietly() {
  local log=$1
  shift
  "$@" > "$log" 2>&1 && return
  say "--- the end of $log"
  tail -n 30 "$log" >&2
  die "failed: $*"
}

# lock NAME: one at a time on this machine. Daemons must not inherit the descriptor (see start in processes.sh).
lock() {
  exec 9> "$base/$1.lock"
  flock -n 9 && return
  say "waiting for another run that holds $base/$1.lock …"
  flock 9
}

hash_of() { sha256sum | cut -c1-16; }

# at_exit FUNCTION: however this script ends, unless it is killed.
at_exit() {
  exit_functions+=("$1")
  trap 'for each in "${exit_functions[@]}"; do "$each"; done' EXIT
}
exit_functions=()
