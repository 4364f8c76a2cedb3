# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# Daemons: started, recognised and ended. Nothing is ever signalled that is not proven to be ours.

# In the environment of every daemon and, inherited, of every containerd shim: finds those whose record was never written.
owner_mark=SPARKBATCH_LOCAL_CLUSTER=$cluster
boot_id=$(< /proc/sys/kernel/random/boot_id)

# started_at PID: when the process began, in ticks since boot; fails for one that has ended, zombies included.
started_at() {
  local stat fields
  { read -r stat < "/proc/$1/stat"; } 2> /dev/null || return 1
  # the name, in parentheses, may hold anything; the fields behind it start with the third, the state
  read -ra fields <<< "${stat##*) }"
  [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# A pid alone proves nothing once the process has gone and the number is given out again; with its start time and the
# boot it counts from, it does.
record() { echo "$2 $(started_at "$2") $boot_id" > "$run/$1.pid"; }

# alive NAME: sets $pid to the running process recorded under this name.
alive() {
  local start boot
  pid=''
  { read -r pid start boot < "$run/$1.pid"; } 2> /dev/null || return 1
  [[ $boot == "$boot_id" && -n $start && $(started_at "$pid") == "$start" ]]
}

# start NAME COMMAND…: in a session of its own, or a caller's time-out would take it along. Nothing if it runs already.
start() {
  local name=$1
  shift
  alive "$name" && return
  env "$owner_mark" setsid "$@" < /dev/null >> "$logs/$name.log" 2>&1 9>&- &
  record "$name" $!
}

# stop NAME SECONDS: asks, and insists after that many seconds.
stop() {
  if alive "$1"; then
    ((${2:-0} == 0)) || kill "$pid" 2> /dev/null || true
    wait_gone "$1" "${2:-0}" || kill -9 "$pid" 2> /dev/null || true
    wait_gone "$1" 5 || say "warning: $1 (pid $pid) does not end"
  fi
  rm -f "$run/$1.pid"
}

wait_gone() {
  local tries=$(($2 * 20))
  while alive "$1"; do
    ((tries-- > 0)) || return 1
    sleep .05
  done
}

# Daemons that no record names, because a run was killed between starting one and writing it down, or somebody has
# deleted the folder; and shims, with the containers below them.
stop_unrecorded() {
  local file name
  while read -r file; do
    pid=${file//[!0-9]/}
    { read -r name < "/proc/$pid/comm"; } 2> /dev/null || continue
    if [[ $name == containerd-shim* ]]; then pkill -9 -P "$pid" || true; fi
    kill -9 "$pid" 2> /dev/null || true
  done < <(grep -slzxF "$owner_mark" /proc/[0-9]*/environ || true)
}

# wait_for COMPONENT SECONDS WHAT COMMAND…: until the command succeeds; shows the component's log if it ends or stays mute.
wait_for() {
  local name=$1 until=$((SECONDS + $2)) what=$3
  shift 3
  until "$@" > /dev/null 2>&1; do
    alive "$name" || component_failed "$name" "$name has ended while waiting: $what"
    ((SECONDS < until)) || component_failed "$name" "gave up waiting: $what"
    sleep .1
  done
}

component_failed() {
  say "--- the end of $logs/$1.log"
  tail -n 30 "$logs/$1.log" >&2 || true
  die "$2"
}
