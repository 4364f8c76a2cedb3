#!/bin/bash
# Writes go.mod and go.sum anew, for another version of Kubernetes or CoreDNS:
#
#     deploy/local/gomod.sh [KUBERNETES_VERSION [COREDNS_VERSION]]      (without the leading v)
#
# k8s.io/kubernetes is not meant to be imported: its go.mod points each staging module (k8s.io/api, k8s.io/client-go, …)
# at a folder of its own repository. Those modules are published too, kubernetes 1.N.P as v0.N.P, so every such line
# becomes a replace by the published module. Everything else follows from `go mod tidy`.
#
# Stay on Kubernetes 1.34 as long as machines with cgroup v1 or containerd 1.x matter: later kubelets refuse both.
set -euo pipefail
kubernetes=${1:-1.34.4}
coredns=${2:-1.13.1}
cd "$(dirname "${BASH_SOURCE[0]}")"

upstream=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p')
{
  printf 'module sparkbatch.dev/deploy/local\n\ngo %s\n\n' "$(awk '$1 == "go" {print $2}' "$upstream")"
  printf 'require (\n\tgithub.com/coredns/coredns v%s\n\tk8s.io/kubernetes v%s\n)\n\n' "$coredns" "$kubernetes"
  awk -v published="v0.${kubernetes#1.}" '/=> \.\/staging/ {print "replace " $1 " => " $1 " " published}' "$upstream"
} > go.mod
rm -f go.sum
go mod tidy
