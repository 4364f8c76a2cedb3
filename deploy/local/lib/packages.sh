# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables
# Debian packages, installed only when something they bring is missing.

# package → a file or a command that shows that it, or something as good, is there already. Asking for the file and not
# for the package leaves machines alone that have, say, containerd from another vendor.
declare -A shown_by=(
  [buildah]=buildah
  [ca-certificates]=/etc/ssl/certs/ca-certificates.crt
  [containerd]=containerd
  [containernetworking-plugins]=/usr/lib/cni/ptp
  [debian-archive-keyring]=/usr/share/keyrings/debian-archive-keyring.gpg
  [gcc]=gcc
  [iproute2]=ip
  [libc6-dev]=/usr/include/stdio.h
  [maven]=mvn
  [mmdebstrap]=mmdebstrap
  [nftables]=nft
  [openssl]=openssl
  [procps]=ps
  [python3]=python3
  [python3-pip]=pip3
  [runc]=runc
  [skopeo]=skopeo
  [util-linux]=unshare
)

require_machine() {
  ((EUID == 0)) || die "this needs root: it makes network devices, mounts and containers"
  local ID='' ID_LIKE=''
  # shellcheck source=/dev/null
  [[ -r /etc/os-release ]] && . /etc/os-release
  [[ " $ID $ID_LIKE " == *" debian "* || $ID == ubuntu ]] || die "this needs Debian or Ubuntu (found: ${ID:-unknown}): it installs what it needs with apt-get"
}

present() {
  local shown=${shown_by[$1]}
  if [[ $shown == /* ]]; then [[ -e $shown ]]; else command -v "$shown" > /dev/null; fi
}

ensure_packages() {
  local package missing=()
  for package; do present "$package" || missing+=("$package"); done
  ((${#missing[@]} == 0)) || step "installing Debian packages: ${missing[*]}" install_packages "${missing[@]}"
}

install_packages() {
  hold_services
  # the package lists of a machine that has none, or only old ones, name versions that are gone from the archive
  quietly "$base/apt.log" apt-get update
  DEBIAN_FRONTEND=noninteractive quietly "$base/apt.log" apt-get install -y --no-install-recommends "$@"
  release_services
}

# The distribution starts containerd's service on installation. The cluster runs one of its own, with its own folders,
# so the installation is told not to start anything, in the way Debian has for that.
policy=/usr/sbin/policy-rc.d
policy_text='#!/bin/sh
# made by sparkbatch deploy/local for the time of one installation
exit 101'

hold_services() {
  [[ -e $policy ]] && return
  printf '%s\n' "$policy_text" > "$policy"
  chmod 755 "$policy"
  at_exit release_services
}

release_services() {
  [[ -f $policy && $(< "$policy") == "$policy_text" ]] || return 0
  rm -f "$policy"
  # not started is not enough: it would start with the machine. Only here, where we know that it came with us.
  if [[ -d /run/systemd/system && -e /lib/systemd/system/containerd.service ]]; then
    systemctl disable --quiet containerd.service 2> /dev/null || true
  fi
}
