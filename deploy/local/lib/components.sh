# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# Kubernetes' own components: configuration, start and readiness.

kubectl() { KUBECONFIG=$kubeconfig "$bin/kubectl" "$@"; }

# --- configuration -------------------------------------------------------------------------------------------------

write_configs() {
  write_containerd_config ''
  write_cni_config
  write_audit_policy
  write_kubelet_config
  write_corefile
}

# Who wrote what, but not the contents: tests count from it how often an object was really created.
write_audit_policy() {
  cat > "$etc/audit-policy.yaml" << 'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - {group: "", resources: [pods, secrets]}
  - {group: sparkbatch.dev}
- level: None
YAML
}

# cgroups: without the hierarchy by quality of service, which cannot be had on every machine. Eviction: only when the machine is nearly full, or pods of a test would vanish because of somebody's build.
write_kubelet_config() {
  cat > "$etc/kubelet.yaml" << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_ip
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
clusterDNS: [$node_ip]
clusterDomain: cluster.local
# nothing of the host's: see write_corefile
resolvConf: ""
maxPods: 250
podLogsDir: $logs/pods
volumePluginDir: $data/kubelet/volume-plugins
# packet filtering is kube-proxy's and network.sh's alone
makeIPTablesUtilChains: false
# Kubernetes 1.34's kubelet looks whether a pod is to be resized without having looked whether its cgroup is still there: a
# pod that is killed and deleted at once takes it down
featureGates: {InPlacePodVerticalScaling: false}
# images are never deleted to make room: they cannot be pulled again
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%, imagefs.inodesFree: 1%}
YAML
}

# Names outside the cluster do not exist: no test may come to depend on what is reachable from this machine by chance.
write_corefile() {
  cat > "$etc/Corefile" << COREFILE
cluster.local:53 {
  bind $node_ip
  errors
  cache 5
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $etc/coredns.kubeconfig sparkbatch-local
    pods insecure
  }
}
.:53 {
  bind $node_ip
  template ANY ANY {
    rcode NXDOMAIN
  }
}
COREFILE
}

# --- start ---------------------------------------------------------------------------------------------------------

start_etcd() {
  # --unsafe-no-fsync: the data is thrown away with the cluster, so it need not survive a power cut
  start etcd "$bin/etcd" --data-dir "$data/etcd" --log-level warn --unsafe-no-fsync \
    --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 \
    --listen-peer-urls https://127.0.0.1:2380 --initial-advertise-peer-urls https://127.0.0.1:2380 \
    --initial-cluster default=https://127.0.0.1:2380 \
    --cert-file "$pki/etcd.crt" --key-file "$pki/etcd.key" --trusted-ca-file "$pki/ca.crt" --client-cert-auth \
    --peer-cert-file "$pki/etcd.crt" --peer-key-file "$pki/etcd.key" --peer-trusted-ca-file "$pki/ca.crt" --peer-client-cert-auth
}

# On the node's own address only: nothing outside this machine has business here.
# --kubelet-preferred-address-types: the node's name cannot be resolved.
start_apiserver() {
  start kube-apiserver "$bin/kube-apiserver" --bind-address "$node_ip" --secure-port 6443 --advertise-address "$node_ip" \
    --etcd-servers https://127.0.0.1:2379 --etcd-cafile "$pki/ca.crt" \
    --etcd-certfile "$pki/kube-apiserver-client.crt" --etcd-keyfile "$pki/kube-apiserver-client.key" \
    --tls-cert-file "$pki/kube-apiserver.crt" --tls-private-key-file "$pki/kube-apiserver.key" --client-ca-file "$pki/ca.crt" \
    --kubelet-client-certificate "$pki/kube-apiserver-client.crt" --kubelet-client-key "$pki/kube-apiserver-client.key" \
    --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --service-account-key-file "$pki/service-account.pub" --service-account-signing-key-file "$pki/service-account.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local --service-cluster-ip-range "$service_cidr" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
    --audit-policy-file "$etc/audit-policy.yaml" --audit-log-path "$logs/audit.log" --audit-log-maxsize 100 --audit-log-maxbackup 1
}

start_controllers() {
  local name
  for name in kube-controller-manager kube-scheduler; do
    local more=()
    [[ $name == kube-scheduler ]] || more=(
      --service-account-private-key-file "$pki/service-account.key" --root-ca-file "$pki/ca.crt" --use-service-account-credentials
      --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" --flex-volume-plugin-dir "$data/volume-plugins"
    )
    start "$name" "$bin/$name" --kubeconfig "$etc/$name.kubeconfig" --bind-address 127.0.0.1 --leader-elect=false \
      --authentication-kubeconfig "$etc/$name.kubeconfig" --authorization-kubeconfig "$etc/$name.kubeconfig" \
      --kube-api-qps 100 --kube-api-burst 200 "${more[@]}"
  done
}

start_node() {
  touch "$cluster/has-containers"
  start kubelet "$bin/kubelet" --kubeconfig "$etc/kubelet.kubeconfig" --config "$etc/kubelet.yaml" --root-dir "$data/kubelet" \
    --cert-dir "$data/kubelet/pki" --hostname-override "$node" --node-ip "$node_ip"
  start kube-proxy "$bin/kube-proxy" --kubeconfig "$etc/kube-proxy.kubeconfig" --proxy-mode nftables --cluster-cidr "$pod_cidr" \
    --hostname-override "$node" --bind-address "$node_ip" --healthz-bind-address 127.0.0.1:10256 --metrics-bind-address 127.0.0.1:10249 \
    --conntrack-max-per-core 0
}

start_coredns() { start coredns "$bin/coredns" -conf "$etc/Corefile"; }

# What CoreDNS may read; the other components' roles are there from the start.
grant_coredns() {
  quietly "$logs/apply.log" kubectl apply -f - << 'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}]
YAML
}

# --- readiness -----------------------------------------------------------------------------------------------------

apiserver_ready() { kubectl get --raw /readyz; }
node_ready() { kubectl wait "node/$node" --for condition=Ready --timeout 0s; }
account_there() { kubectl get serviceaccount default -n default; }

# services_work: the API server answers at its Service's address, so kube-proxy has done its part.
services_work() { timeout 2 bash -c "exec 3<> /dev/tcp/$service_ip/443"; }

# dns_answers: asks for the address of kubernetes.default.svc.cluster.local, in the protocol's own bytes, because a bare
# machine has no program that asks a DNS server of one's choice; true if the answer ends with that address.
dns_answers() {
  local answer
  exec 3<> "/dev/udp/$node_ip/53" || return 1
  printf '\x5b\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01' \
    | dd bs=512 iflag=fullblock status=none >&3 # in one piece: the byte 10 is a line's end to printf
  answer=$(timeout 1 dd bs=512 count=1 status=none <&3 | od -An -v -tu1 | xargs)
  exec 3>&-
  [[ $answer == *" ${service_ip//./ }" ]]
}
