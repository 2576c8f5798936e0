#!/bin/bash
# Process 1 of one host, started by host.sh: the control plane on host 1, and the node's own parts when
# it is a node.
set -u
N=$RUN/node$NODE P=$RUN/pki SOCKET=$RUN/node$NODE/containerd/c.sock

# The hosts must not meet where their programs insist on a path: each has these folders to itself.
mount --make-rshared /
for file in "$RUN"/sysctl/*; do
    name=${file##*/}
    mount --bind "$file" "/proc/sys/${name//+//}" || echo "cannot show $name"
done
mount --bind "$N/var-lib" /var/lib && mount --bind "$N/var-log" /var/log && mount -t tmpfs tmpfs /run ||
    { echo "cannot mount the folders of host $NODE" >&2; exit 1; }
mkdir -p /run/netns /run/lock
cd "$RUN" || exit 1

# Runs a part until the host ends, as a service manager does.
run() { # PART COMMAND...
    local log=$RUN/log/$1-$NODE.log
    shift
    (
        for _ in $(seq 1000); do
            "$@"
            echo "test-kubernetes: ended with $?, is started again in a second"
            sleep 1
        done
    ) >>"$log" 2>&1 &
}

wait_for() { # WHAT SECONDS COMMAND...
    local what=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "host $NODE gives up: timed out waiting for $what" >&2; exit 1; }
        sleep 0.2
    done
}

control_plane() {
    local etcd=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
    run etcd "$KUBE" etcd --name=e0 --data-dir="$RUN/etcd" --log-level=warn --unsafe-no-fsync \
        --listen-client-urls=$etcd --advertise-client-urls=$etcd \
        --listen-peer-urls=$peer --initial-advertise-peer-urls=$peer --initial-cluster=e0=$peer
    run apiserver "$KUBE" apiserver --etcd-servers=$etcd --secure-port=6443 --bind-address=0.0.0.0 \
        --advertise-address="$NODE_IP" --service-cluster-ip-range="$SERVICES" \
        --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key" \
        --client-ca-file="$P/ca.crt" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$P/sa.pub" --service-account-signing-key-file="$P/sa.key" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --allow-privileged=true --kubelet-preferred-address-types=InternalIP \
        --kubelet-client-certificate="$P/apiserver-kubelet.crt" \
        --kubelet-client-key="$P/apiserver-kubelet.key" \
        --requestheader-client-ca-file="$P/ca.crt" \
        --requestheader-allowed-names=front-proxy-client \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --requestheader-group-headers=X-Remote-Group \
        --requestheader-username-headers=X-Remote-User \
        --proxy-client-cert-file="$P/front-proxy.crt" --proxy-client-key-file="$P/front-proxy.key"
}

# What needs the API of the control plane.
controllers() {
    local config=$RUN/controllers.kubeconfig
    run controllers "$KUBE" controllers --kubeconfig="$config" \
        --flex-volume-plugin-dir="$RUN/volume-plugins" \
        --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
        --leader-elect=false --use-service-account-credentials=true \
        --cluster-cidr="$PODS" --allocate-node-cidrs=false --service-cluster-ip-range="$SERVICES" \
        --service-account-private-key-file="$P/sa.key" --root-ca-file="$P/ca.crt" \
        --cluster-signing-cert-file="$P/ca.crt" --cluster-signing-key-file="$P/ca.key"
    config=$RUN/scheduler.kubeconfig
    run scheduler "$KUBE" scheduler --kubeconfig="$config" --leader-elect=false \
        --authentication-kubeconfig="$config" --authorization-kubeconfig="$config"
    run volumes "$KUBE" volumes --kubeconfig="$RUN/inside.kubeconfig" --folder="$STATE/volumes"
    cat >"$RUN/Corefile" <<Y
.:53 {
  bind $NODE_IP
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $RUN/inside.kubeconfig
    ttl 5
  }
  cache 5
}
Y
    run dns "$KUBE" dns -conf "$RUN/Corefile"
}

containers() {
    local plugins=/usr/lib/cni
    for folder in /opt/cni/bin /usr/libexec/cni; do
        [ -x "$plugins/ptp" ] || plugins=$folder
    done
    cat >"$N/containerd.toml" <<Y
version = 2
root = "$N/containerd"
state = "/run/containerd"
[grpc]
  address = "$SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "test.local/pause:1"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$plugins"
    conf_dir = "$N/cni"
Y
    # Every pod has a cable of its own to its host, so all its packets pass the proxy's rules.
    cat >"$N/cni/10-pods.conflist" <<Y
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$N/ipam",
    "ranges": [[{"subnet": "10.244.$NODE.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
Y
    run containerd containerd --config "$N/containerd.toml"
}

images() {
    local image
    wait_for "containerd, see $RUN/log/containerd-$NODE.log" 60 timeout 10 ctr -a "$SOCKET" version
    for image in "${KUBE%/*}/pause.tar" "$STATE"/images/*.tar; do
        [ ! -e "$image" ] || timeout 300 ctr -a "$SOCKET" -n k8s.io images import "$image"
    done
}

node() {
    echo "nameserver 127.0.0.1" >"$N/resolv.conf"
    cat >"$N/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$SOCKET
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP/node$NODE
failCgroupV1: false
failSwapOn: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $P/ca.crt}}
authorization: {mode: Webhook}
clusterDNS: [$NODE_IP]
clusterDomain: cluster.local
resolvConf: $N/resolv.conf
volumePluginDir: $N/kubelet/volume-plugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 500Mi, imagefs.available: 500Mi}
enforceNodeAllocatable: [pods]
nodeStatusUpdateFrequency: 5s
registryPullQPS: 0
serializeImagePulls: false
syncFrequency: 10s
Y
    cat >"$N/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $RUN/proxy.kubeconfig}
clusterCIDR: $PODS
hostnameOverride: node$NODE
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
    run kubelet "$KUBE" kubelet --config="$N/kubelet.yaml" --kubeconfig="$RUN/kubelet$NODE.kubeconfig" \
        --root-dir="$N/kubelet" --cert-dir="$N/kubelet-pki" --hostname-override="node$NODE" \
        --node-ip="10.111.0.$NODE" --node-labels="topology.kubernetes.io/zone=zone$NODE" --v=2
    run proxy "$KUBE" proxy --config="$N/proxy.yaml" --v=2
}

answers() {
    curl -sk --max-time 2 "https://$NODE_IP:6443/readyz" | grep -q '^ok'
}

[ "$NODE" != 1 ] || control_plane
if [ "$NODES" -gt 0 ]; then
    containers
    images >"$RUN/log/images-$NODE.log" 2>&1 &
    images=$!
fi
wait_for "the API, see $RUN/log/apiserver-1.log" 600 answers
[ "$NODE" != 1 ] || controllers
if [ "$NODES" -gt 0 ]; then
    wait "$images" || echo "host $NODE lacks images: see $RUN/log/images-$NODE.log" >&2
    node
fi
# Process 1 takes in whatever ends without a parent.
while :; do
    wait -n || :
    sleep 1
done
