# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# containerd: its configuration, images, and getting rid of containers.
#
# Images outlive a cluster (containerd's root folder is kept), containers do not.

containerd_root=$cluster/containerd
containerd_socket=$run/containerd.sock
pause_image=localhost/pause:3.10
bundles=$run/containerd/io.containerd.runtime.v2.task/k8s.io # a folder per container, named like it

ctr() { command ctr -a "$containerd_socket" -n k8s.io "$@"; }

# Every folder and socket is our own, so that nothing is shared with a containerd of the distribution; the sockets of
# its shims are the exception, they are always in /run/containerd/s.
write_containerd_config() {
  cat > "$etc/containerd.toml" << TOML
version = 2
root = "$containerd_root"
state = "$run/containerd"
temp = "$run/tmp"
$1

[grpc]
  address = "$containerd_socket"

[plugins."io.containerd.internal.v1.opt"]
  path = "$run/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  # or every container would fail to start on machines without CAP_SYS_RESOURCE
  restrict_oom_score_adj = true
  # in our folder and not in /run/netns, so that what a killed run leaves there is known to be ours
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$etc/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$run/runc"
TOML
}

# ptp: see network.sh.
write_cni_config() {
  mkdir -p "$etc/cni"
  cat > "$etc/cni/10-$cni_network.conflist" << JSON
{
  "cniVersion": "0.4.0",
  "name": "$cni_network",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {
        "type": "host-local",
        "dataDir": "$run/cni",
        "ranges": [[{"subnet": "$pod_cidr", "gateway": "$node_ip"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    }
  ]
}
JSON
}

start_containerd() {
  mkdir -p "$run/tmp"
  start containerd containerd -c "$etc/containerd.toml"
  wait_for containerd 30 "containerd answers" ctr version
}

# The digest a tar holds is in its index, so that it can be compared without reading a gigabyte.
image_digest() { tar -xOf "$1" index.json | grep -o '"digest": *"[^"]*"' | head -n 1 | cut -d'"' -f4; }
image_name() { tar -xOf "$1" index.json | grep -o '"org.opencontainers.image.ref.name": *"[^"]*"' | head -n 1 | cut -d'"' -f4; }

import_image() {
  local tar=$1 name digest
  [[ -r $tar ]] || die "no such file: $tar"
  name=$(image_name "$tar")
  digest=$(image_digest "$tar")
  [[ -n $name && -n $digest ]] || die "$tar is not an oci-archive that names its image"
  if [[ $(ctr images list "name==$name") == *" $digest "* ]]; then
    say "  image $name: there already"
  else
    step "importing image $name" quietly "$logs/import.log" ctr images import "$tar"
  fi
}

# --- clean-up ------------------------------------------------------------------------------------------------------

# Pods are not asked to end: their cluster is gone already.
kill_containers() {
  local tries=100 pids
  while pids=$(container_pids) && [[ -n $pids ]] && ((tries-- > 0)); do
    # shellcheck disable=SC2086 # one word per pid
    kill -9 $pids 2> /dev/null || true
    sleep .05
  done
}

# A container's processes are those in its cgroup. The parent, k8s.io, is not ours alone: the container's name makes it so.
container_pids() {
  local id
  for id in $(container_ids); do
    find /sys/fs/cgroup/{,*/}k8s.io/"$id" -name cgroup.procs -exec cat {} + 2> /dev/null || true
  done | sort -u
}

container_ids() { ls "$bundles" 2> /dev/null || true; }

# forget_containers: removes them from containerd's database, which would bring them back at its next start. When
# containerd has died it is started once more for that, without the part that serves the kubelet; and if it cannot
# cope with what it finds, it loses everything, images included.
forget_containers() {
  [[ -e $cluster/has-containers ]] || return 0
  if ! alive containerd; then
    say "  the last run was not ended properly; removing its containers …"
    discard_state
    mkdir -p "$run/tmp" "$etc"
    write_containerd_config 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
    start containerd containerd -c "$etc/containerd.toml"
  fi
  if ! remove_containers; then
    say "  containerd's state is not usable; images have to be loaded again"
    discard_state
    rm -rf --one-file-system "$containerd_root"
  fi
  rm -f "$cluster/has-containers"
}

discard_state() {
  stop containerd 5
  stop_unrecorded # shims, that is
  remove_mounts
  remove_container_traces
  rm -rf --one-file-system "$run"
}

remove_containers() {
  local tries=100 containers
  until ctr version > /dev/null 2>&1; do
    ((tries-- > 0)) && alive containerd || return 1
    sleep .1
  done
  containers=$(ctr containers list -q) || return 1
  [[ -n $containers ]] || return 0
  # shellcheck disable=SC2086 # one word per container
  {
    ctr tasks delete --force $containers > /dev/null 2>&1 || true # those without a task are an error to it
    ctr containers delete $containers > /dev/null 2>&1
  }
}

# Everything mounted below the cluster's folder, the innermost first.
remove_mounts() {
  local mount
  awk -v below="$cluster/" 'index($2, below) == 1 {print $2}' /proc/self/mounts | tac | while read -r mount; do
    mount=$(printf '%b' "$mount") # /proc/self/mounts writes blanks as \040
    umount "$mount" 2> /dev/null || umount -l "$mount" || true
  done
}

# The network plugins' notes, which are kept in a place for all.
remove_network_notes() {
  local id
  for id in $(container_ids); do rm -f /var/lib/cni/{,cache/}results/*-"$id"-*; done
}

# What shims and runc leave when they are killed; from the bundles, so before these go.
remove_container_traces() {
  local id address
  for id in $(container_ids); do
    if read -r address 2> /dev/null < "$bundles/$id/address" || [[ -n ${address:-} ]]; then rm -f "${address#unix://}"; fi
    find /sys/fs/cgroup/{,*/}k8s.io/"$id" -depth -type d -exec rmdir {} \; 2> /dev/null || true
  done
}

# What containerd and the kubelet leave in places that cannot be configured.
remove_traces() {
  local file
  for file in /var/log/containers/*; do
    if [[ -L $file && $(readlink "$file") == "$logs/"* ]]; then rm -f "$file"; fi
  done
  if [[ -z $(other_kubernetes) ]]; then
    rm -f /var/lib/kubelet/device-plugins/{DEPRECATION,kubelet.sock,kubelet_internal_checkpoint}
    # cgroups that have processes stay
    find /sys/fs/cgroup/{,*/}k8s.io -depth -type d -exec rmdir {} \; 2> /dev/null || true
  fi
  # folders that others may use too go if they are empty
  rmdir --parents --ignore-fail-on-non-empty /var/lib/cni/results /var/lib/cni/cache/results /var/lib/kubelet/device-plugins /var/log/containers /run/containerd/s 2> /dev/null || true
}
