# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# A certificate authority of this cluster's own, made anew with every fresh cluster, and one certificate per component.

node=sparkbatch-local

# issue NAME SUBJECT [SAN]: $pki/NAME.key and .crt, good for serving (where there is a SAN) and as a client.
issue() {
  local name=$1 subject=$2 san=${3:-}
  local usage=clientAuth
  [[ -z $san ]] || usage=serverAuth,clientAuth
  openssl req -new "${new_key[@]}" -keyout "$pki/$name.key" -subj "$subject" 2> /dev/null \
    | openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 3650 -out "$pki/$name.crt" \
      -extfile <(printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=%s\n%s\n' "$usage" "${san:+subjectAltName=$san}") 2> /dev/null
}

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

make_credentials() {
  local dns=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  openssl req -x509 "${new_key[@]}" -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=sparkbatch-local -days 3650 \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2> /dev/null
  issue etcd /CN=etcd IP:127.0.0.1
  issue kube-apiserver /CN=kube-apiserver "$dns,IP:127.0.0.1,IP:$service_ip,IP:$node_ip"
  issue kube-apiserver-client /O=system:masters/CN=kube-apiserver-client
  issue kubelet "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$node_ip"
  issue kube-controller-manager /CN=system:kube-controller-manager
  issue kube-scheduler /CN=system:kube-scheduler
  issue kube-proxy /CN=system:kube-proxy
  issue coredns /CN=system:coredns
  issue admin /O=system:masters/CN=admin
  # signs the tokens of service accounts
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$pki/service-account.key" 2> /dev/null
  openssl pkey -in "$pki/service-account.key" -pubout -out "$pki/service-account.pub"

  local name
  for name in kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do write_kubeconfig "$name" "$etc/$name.kubeconfig"; done
  write_kubeconfig admin "$kubeconfig"
}

# Certificates are written into the file, so that it works wherever it is copied.
write_kubeconfig() {
  cat > "$2" << YAML
apiVersion: v1
kind: Config
clusters:
- name: sparkbatch-local
  cluster:
    server: https://$node_ip:6443
    certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$pki/$1.crt")
    client-key-data: $(base64 -w0 "$pki/$1.key")
contexts:
- name: sparkbatch-local
  context: {cluster: sparkbatch-local, user: $1}
current-context: sparkbatch-local
YAML
}
