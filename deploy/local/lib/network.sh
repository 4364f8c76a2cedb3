# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# The node's address and the way packets take from and to pods.
#
# Pods are joined by the ptp plugin, not by a bridge: a Service's address is rewritten by the host, and the answer must
# come back through the host to be rewritten too. Between two ports of one bridge it would not, unless the kernel has
# br_netfilter, which small kernels lack. The bridge below has no ports; it only holds the address.
# kube-proxy runs in nftables mode, so everything it does is in tables of its own name, and taking it away cannot touch
# anybody else's rules.

bridge=sparkbatch0
node_ip=10.244.0.1 # also the pods' gateway, the API server's and the DNS server's address
pod_cidr=10.244.0.0/16
service_cidr=10.96.0.0/16
service_ip=10.96.0.1 # the API server's, by convention the first of the range
cni_network=sparkbatch
nft_table=sparkbatch-local

network_up() {
  remember_forwarding
  if [[ ! -e /sys/class/net/$bridge ]]; then ip link add "$bridge" type bridge; fi
  # says whose it is, should two folders on one machine ever be used for two clusters
  ip link set "$bridge" up alias "$cluster"
  ip address replace "$node_ip/32" dev "$bridge"
  # A Service's address that kube-proxy does not rewrite, because it does not know it yet, leads nowhere; not to
  # whoever is behind the machine's default route, and answers.
  ip route replace "$service_cidr" dev "$bridge"
  sysctl -qw net.ipv4.ip_forward=1
  nft -f - << NFT
table ip $nft_table
delete table ip $nft_table
table ip $nft_table {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr $pod_cidr ip daddr != $pod_cidr masquerade
  }
}
NFT
  accept_forwarding
}

network_down() {
  network_is_ours || return 0
  if [[ -e /sys/class/net/$bridge ]]; then ip link del "$bridge"; fi
  if command -v nft > /dev/null; then
    drop_table ip "$nft_table"
    # kube-proxy's; a kube-proxy that is not ours would be one that `up` refused to start beside
    if [[ -z $(other_kubernetes) ]]; then
      drop_table ip kube-proxy
      drop_table ip6 kube-proxy
    fi
  fi
  stop_accepting_forwarding
  restore_forwarding
}

drop_table() {
  ! nft list table "$1" "$2" > /dev/null 2>&1 || nft delete table "$1" "$2"
}

# The bridge carries the folder it belongs to. One whose owner has no process any more may be taken over.
network_is_ours() {
  local owner=''
  { read -r owner < "/sys/class/net/$bridge/ifalias"; } 2> /dev/null || true
  [[ -z $owner || $owner == "$cluster" ]] || ! grep -sqlzxF "SPARKBATCH_LOCAL_CLUSTER=$owner" /proc/[0-9]*/environ
}

# remember_forwarding, restore_forwarding: the setting that was there before, noted once per boot.
remember_forwarding() {
  local noted=''
  { read -r noted _ < "$cluster/forwarding"; } 2> /dev/null || true
  [[ $noted == "$boot_id" ]] || echo "$boot_id $(< /proc/sys/net/ipv4/ip_forward)" > "$cluster/forwarding"
}

restore_forwarding() {
  local noted before
  { read -r noted before < "$cluster/forwarding"; } 2> /dev/null || return 0
  [[ $noted != "$boot_id" ]] || sysctl -qw "net.ipv4.ip_forward=$before"
  rm -f "$cluster/forwarding"
}

# A firewall that drops what is forwarded (a container engine sets that) would cut pods off: two rules let them through.
accept_forwarding() {
  [[ $(iptables -S FORWARD 2> /dev/null) == *"-P FORWARD DROP"* ]] || return 0
  stop_accepting_forwarding
  iptables -w -I FORWARD -s "$pod_cidr" -m comment --comment "$nft_table" -j ACCEPT
  iptables -w -I FORWARD -d "$pod_cidr" -m comment --comment "$nft_table" -j ACCEPT
}

stop_accepting_forwarding() {
  command -v iptables > /dev/null || return 0
  while iptables -w -D FORWARD -s "$pod_cidr" -m comment --comment "$nft_table" -j ACCEPT 2> /dev/null; do :; done
  while iptables -w -D FORWARD -d "$pod_cidr" -m comment --comment "$nft_table" -j ACCEPT 2> /dev/null; do :; done
}

# Names of processes of another Kubernetes node on this machine, if any.
other_kubernetes() {
  local file name pid
  for file in /proc/[0-9]*/comm; do
    { read -r name < "$file"; } 2> /dev/null || continue
    case $name in
      kubelet | kube-proxy | kubelite | k3s | k3s-server | rke2)
        pid=${file//[!0-9]/}
        # one that has ended, and only waits to be buried, has no environment to be known by
        grep -sqzxF "$owner_mark" "/proc/$pid/environ" || ! started_at "$pid" > /dev/null || echo "$name"
        ;;
    esac
  done
}

# refuse_conflicts: called when nothing of ours runs.
refuse_conflicts() {
  local other busy
  network_is_ours || die "a cluster of another cache folder runs here: $(< "/sys/class/net/$bridge/ifalias"); end that one first"
  other=$(other_kubernetes | sort -u | paste -sd ' ')
  [[ -z $other ]] || die "another Kubernetes node runs on this machine ($other)"
  busy=$(ss -ltnH "( sport = :2379 or sport = :2380 or sport = :6443 or sport = :10248 or sport = :10249 or sport = :10250 or sport = :10256 or sport = :10257 or sport = :10259 )" | awk '{print $4}' | paste -sd ' ')
  [[ -z $busy ]] || die "ports that the cluster needs are in use: $busy"
}
