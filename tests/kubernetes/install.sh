#!/bin/bash
# Makes sure that what up.sh needs is there, and prints the path of the program `kubernetes`, which is
# built once from the Go modules of go.mod and kept in the user's cache. Where that is not possible it
# prints the reason instead and exits with 3.
set -euo pipefail
cd "$(dirname "$0")"

impossible() {
    echo "$*"
    exit 3
}

missing() {
    local command
    for command in containerd ctr runc ip iptables nft conntrack socat openssl ps curl python3 sha256sum \
        nsenter unshare setsid flock; do
        command -v "$command" >/dev/null 2>&1 || echo "$command"
    done
    [ -n "$(cni)" ] || echo "the CNI plugins"
}

cni() {
    local folder
    for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
        [ ! -x "$folder/ptp" ] || { echo "$folder"; return; }
    done
}

go_is_new_enough() {
    local version
    version=$(go env GOVERSION 2>/dev/null) || return 1
    [[ $version =~ ^go([0-9]+)\.([0-9]+) ]] &&
        ((BASH_REMATCH[1] > 1 || BASH_REMATCH[2] >= 25))
}

build() { # OUT
    local version minor folder=${1%/*} flags="-s -w"
    version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
    minor=${version#v1.}
    minor=${minor%%.*}
    local helm
    helm=$(awk '$1 == "helm.sh/helm/v4" { print $2; exit }' go.mod)
    local k=k8s.io/component-base/version h=helm.sh/helm/v4
    local x
    for x in "$k.gitVersion=$version" "$k.gitMajor=1" "$k.gitMinor=$minor" \
        "$h/internal/version.version=$helm" \
        "$h/internal/version.kubeClientVersionMajor=1" \
        "$h/internal/version.kubeClientVersionMinor=$minor" \
        "$h/pkg/chart/common.k8sVersionMajor=1" \
        "$h/pkg/chart/common.k8sVersionMinor=$minor"; do
        flags+=" -X $x"
    done
    mkdir -p "$folder/pause"
    export CGO_ENABLED=0
    timeout 10m go build -trimpath -ldflags "-s -w" -o "$folder/pause/pause" ./pause &&
        python3 image.py "$folder/pause.tar" test.local/pause:1 "$folder/pause" --entrypoint /pause &&
        timeout 45m nice go build -trimpath -ldflags "$flags" -o "$1.$$" . &&
        mv "$1.$$" "$1"
}

[ "$(id -u)" = 0 ] || impossible "it needs root: it makes network namespaces, mounts and cgroups"
go_is_new_enough || impossible "it needs Go 1.25 or newer to build Kubernetes and etcd"
if [ -n "$(missing)" ]; then
    command -v apt-get >/dev/null 2>&1 || impossible "missing, and there is no apt-get:" $(missing)
    echo "installing containerd and what else the test Kubernetes needs" >&2
    export DEBIAN_FRONTEND=noninteractive
    { timeout 5m apt-get -qq update && timeout 10m apt-get -qq install -y --no-install-recommends \
        containerd runc containernetworking-plugins iproute2 iptables nftables conntrack socat kmod \
        openssl procps curl python3 util-linux; } >/dev/null || true
    [ -z "$(missing)" ] || impossible "apt-get could not install:" $(missing)
fi
why=$(unshare --mount --pid --net --fork --mount-proc --propagation private \
    sh -c 'mount -t tmpfs none /run && ip link add x type bridge' 2>&1) ||
    impossible "this root cannot make namespaces, mounts or bridges: $why"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/vectorsphere-kubernetes
case $cache in
    /run/* | /var/run/* | /var/lib/* | /var/log/*)
        impossible "the cache $cache lies where hosts see folders of their own: set XDG_CACHE_HOME" ;;
esac
# Named by what it is made of; what nobody used for a month goes.
out=$cache/$(cat install.sh image.py go.mod go.sum ./*.go pause/*.go | sha256sum | cut -c1-16)/kubernetes
if [ ! -x "$out" ]; then
    mkdir -p "${out%/*}"
    echo "building Kubernetes from its Go modules (8 minutes the first time): $out" >&2
    build "$out" >"$out.log" 2>&1 || impossible "Kubernetes could not be built: see $out.log"
fi
touch "${out%/*}"
find "$cache" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
echo "$out"
