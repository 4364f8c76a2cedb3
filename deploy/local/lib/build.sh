# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# Programs built from Go modules, each kept in the cache under a key made of everything that goes into it.

components=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns kubectl)
helm_version=4.3.1
helm3_version=3.22.0
helm3_kubernetes_minor=37
kwok_version=0.8.0

need_go() {
  command -v go > /dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go > /dev/null || die "Go is missing: install a Go toolchain, $(awk '$1 == "go" {print $2}' "$here/go.mod") or newer"
  export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
}

# binary_folder: sets $built, where the binary and its names are or will be.
binary_folder() {
  need_go
  # components compare their versions with each other's, and clients ask for it
  kubernetes_version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/go.mod")
  build_flags=(-trimpath -buildvcs=false -ldflags "-s -w
    -X k8s.io/component-base/version.gitVersion=$kubernetes_version
    -X k8s.io/component-base/version.gitMajor=1
    -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<< "$kubernetes_version")
    -X k8s.io/component-base/version.gitTreeState=clean
    -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes_version")
  local key
  key=$({ cd "$here" && cat go.mod go.sum main.go && go version && printf '%s\n' "${build_flags[@]}"; } | hash_of)
  built=$base/bin/kubecluster-$key
}

ensure_binary() {
  binary_folder
  [[ -d $built ]] || step "building Kubernetes $kubernetes_version from Go modules (10 to 15 minutes on two cores when nothing is cached)" build_binary
}

# Into a folder of another name first: a build that is interrupted leaves no entry that looks whole.
build_binary() {
  local work component
  rm -rf "$base"/bin/.building-*
  mkdir -p "$base/bin"
  work=$(mktemp -d "$base/bin/.building-XXXXXX")
  (cd "$here" && quietly "$base/bin/build.log" go build "${build_flags[@]}" -o "$work/kubecluster" .)
  for component in "${components[@]}"; do ln -s kubecluster "$work/$component"; done
  chmod 755 "$work"
  mv -T "$work" "$built"
}

# ensure_helm, ensure_helm3, ensure_kwok: set $tool to the program, and build it first where it is missing.
ensure_helm() {
  ensure_tool helm "$helm_version" "helm.sh/helm/v4/cmd/helm" "-X helm.sh/helm/v4/internal/version.version=v$helm_version"
}
# Without a cluster it takes the Kubernetes that it is told here for the one that it renders for, as its releases do.
ensure_helm3() {
  local v3=helm.sh/helm/v3 flags=() part
  for part in pkg/chartutil pkg/lint/rules; do
    flags+=("-X $v3/$part.k8sVersionMajor=1" "-X $v3/$part.k8sVersionMinor=$helm3_kubernetes_minor")
  done
  ensure_tool helm "$helm3_version" "$v3/cmd/helm" "-X $v3/internal/version.version=v$helm3_version ${flags[*]}"
}
ensure_kwok() {
  ensure_tool kwok "$kwok_version" "sigs.k8s.io/kwok/cmd/kwok" ""
}

# ensure_tool NAME VERSION PACKAGE LINKER_FLAGS
ensure_tool() {
  need_go
  tool=$base/bin/$1-$2
  [[ -x $tool ]] || step "building $1 $2 from Go modules (about 5 minutes of CPU when nothing is cached)" build_tool "$@"
}

build_tool() {
  local work
  mkdir -p "$base/bin"
  work=$(mktemp -d "$base/bin/.$1-XXXXXX")
  # GOFLAGS: this module is no dependency of ours, so there is no go.sum to be held to
  GOFLAGS='' GOBIN=$work quietly "$base/bin/$1.log" go install -trimpath -ldflags "-s -w $4" "$3@v$2"
  mv "$work/$1" "$tool"
  rmdir "$work"
}
