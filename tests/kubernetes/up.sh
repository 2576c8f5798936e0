#!/bin/bash
# Starts a real Kubernetes on this machine, as root, in network, process and mount namespaces of its
# own. What an earlier run under the same STATE left, also a killed one, is removed first.
#
#   NODES  n nodes, each with kubelet, containerd and proxy as on a machine of its own; 0: the control
#          plane only, no pod ever runs  [1]
#   STATE  where everything lives and logs  [target/test-kubernetes]
#   PORT   the API on 127.0.0.1  [a free one]
#
# From outside: KUBECONFIG=$STATE/kubeconfig; pod and service addresses are reached from the network
# namespace $STATE/run/net/1. Each docker-archive $STATE/images/*.tar is imported when a host starts.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
NODES=${NODES:-1}
[[ $NODES =~ ^[0-9]$ ]] || { echo "NODES is 0 to 9, not $NODES" >&2; exit 2; }
PORT=${PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
KUBE=${KUBE:-$("$HERE/install.sh")} || { echo "no test Kubernetes: $KUBE" >&2; exit 3; }
NODE_IP=10.111.0.1 SERVICES=10.96.0.0/16 PODS=10.244.0.0/16

began=$(date +%s%N)
say() { printf '%5d.%d s  %s\n' $((($(date +%s%N) - began) / 1000000000)) \
    $((($(date +%s%N) - began) / 100000000 % 10)) "$*" >&2; }

"$HERE/down.sh"
rm -rf "$RUN"
hosts=$((NODES > 0 ? NODES : 1)) # host 1 carries the control plane even when it is no node
mkdir -p "$RUN"/{pki,log,etcd,sysctl,net} "$STATE"/{images,volumes}
for i in $(seq "$hosts"); do mkdir -p "$RUN/node$i"/{kubelet,containerd,cni,ipam,var-lib,var-log}; done

# --- certificates and kubeconfigs
umask 077
cd "$RUN/pki"
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 3650 -subj /CN=kubernetes -out ca.crt
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
certificate() { # NAME SUBJECT [EXTENSION]
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA ca.crt -CAkey ca.key \
        -CAcreateserial -days 3650 -out "$1.crt" -extfile <(printf '%s\n' \
            keyUsage=digitalSignature,keyEncipherment extendedKeyUsage=clientAuth,serverAuth \
            "${3:-}") 2>/dev/null
}
names=DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$NODE_IP
for name in kubernetes{,.default{,.svc{,.cluster.local}}}; do names+=,DNS:$name; done
certificate apiserver /CN=kube-apiserver "subjectAltName=$names"
certificate admin /O=system:masters/CN=admin
certificate controllers /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate proxy /CN=system:kube-proxy
certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
certificate front-proxy /CN=front-proxy-client
for i in $(seq "$NODES"); do certificate "kubelet$i" "/O=system:nodes/CN=system:node:node$i"; done
kubeconfig() { # FILE USER SERVER
    cat >"$1" <<Y
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $2, user: {client-certificate-data: $(base64 -w0 "$2.crt"), client-key-data: $(base64 -w0 "$2.key")}}]
contexts: [{name: test, context: {cluster: test, user: $2}}]
current-context: test
Y
}
for user in controllers scheduler; do
    kubeconfig "$RUN/$user.kubeconfig" $user https://127.0.0.1:6443
done
kubeconfig "$RUN/inside.kubeconfig" admin https://127.0.0.1:6443
kubeconfig "$RUN/proxy.kubeconfig" proxy "https://$NODE_IP:6443"
for i in $(seq "$NODES"); do
    kubeconfig "$RUN/kubelet$i.kubeconfig" "kubelet$i" "https://$NODE_IP:6443"
done
kubeconfig "$STATE/kubeconfig" admin "https://127.0.0.1:$PORT"
umask 022
say "certificates made"

# --- networks: host 1 has the bridge that joins the hosts
for i in $(seq "$hosts"); do
    touch "$NET/$i"
    unshare --net="$NET/$i" true
    inside="nsenter --net=$NET/$i"
    $inside ip link set lo up
    if [ "$i" = 1 ]; then
        $inside ip link add node0 type bridge
        $inside ip addr add "$NODE_IP/24" dev node0
        $inside ip link set node0 up
        $inside ip route add default dev node0
    else
        nsenter --net="$NET/1" ip link add "nv$i" type veth peer name eth0 netns "$NET/$i"
        nsenter --net="$NET/1" ip link set "nv$i" master node0 up
        $inside ip addr add "10.111.0.$i/24" dev eth0
        $inside ip link set eth0 up
        $inside ip route add default via "$NODE_IP"
    fi
    for j in $(seq "$hosts"); do
        [ "$j" = "$i" ] || $inside ip route add "10.244.$j.0/24" via "10.111.0.$j"
    done
    $inside sysctl -q -w net.ipv4.ip_forward=1
done

# --- cgroups: of version 1 a tree of our own under every controller, of version 2 one tree
if [ "$NODES" -gt 0 ] && [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    for i in $(seq "$NODES"); do mkdir -p "/sys/fs/cgroup/$CGROUP/node$i"; done
    for folder in /sys/fs/cgroup "/sys/fs/cgroup/$CGROUP"; do
        for controller in $(cat "$folder/cgroup.controllers"); do
            echo "+$controller" >"$folder/cgroup.subtree_control" 2>/dev/null || true
        done
    done
elif [ "$NODES" -gt 0 ]; then
    for controller in /sys/fs/cgroup/*/; do
        [ "$controller" != /sys/fs/cgroup/unified/ ] || continue
        mkdir -p "$controller$CGROUP"
        for folder in "$controller$CGROUP" $(seq -f "$controller$CGROUP/node%g" "$NODES"); do
            mkdir -p "$folder"
            for file in cpuset.cpus cpuset.mems; do
                [ ! -e "$folder/$file" ] || cat "$controller$file" >"$folder/$file"
            done
        done
    done
fi

# The kubelet insists on six settings of the kernel: it is shown these files in their place, the
# machine's own stay as they are.
while read -r name value; do echo "$value" >"$RUN/sysctl/${name//\//+}"; done <<'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS

# --- the hosts; host.sh reads this file whenever it starts one
declare -p KUBE NODES NODE_IP SERVICES PODS >"$RUN/environment"
for i in $(seq "$hosts"); do "$HERE/host.sh" start "$i"; done
# The API for this machine: 127.0.0.1:$PORT, a unix socket, 127.0.0.1:6443 inside. It belongs to no
# host, so a stopped one does not take it along.
export "$MARK=$RUN:api"
setsid nohup nsenter --net="$NET/1" socat "UNIX-LISTEN:$RUN/api.sock,fork,unlink-early" \
    TCP:127.0.0.1:6443 >"$RUN/log/api-inside.log" 2>&1 </dev/null &
setsid nohup socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$RUN/api.sock" \
    >"$RUN/log/api-outside.log" 2>&1 </dev/null &
unset "$MARK"

# --- until it works
export KUBECACHEDIR=$RUN/kubectl-cache # what another cluster at this port had is not asked
k() { timeout 10 "$KUBE" kubectl --kubeconfig "$STATE/kubeconfig" --request-timeout=5s "$@"; }
wait_for() { # WHAT SECONDS LOG COMMAND...
    local what=$1 log=$3 end=$((SECONDS + $2))
    shift 3
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || {
            echo "timed out waiting: $what; the logs are in $RUN/log, which end with" >&2
            tail -n 5 "$RUN/log/$log.log" "$RUN/log/node${log##*-}.log" >&2 || true
            exit 1
        }
        sleep 0.2
    done
    say "$what"
}
wait_for "the API answers" 120 apiserver-1 k get --raw /readyz
wait_for "the controllers work" 60 controllers-1 k -n default get serviceaccount default
wait_for "the class standard is there" 30 apiserver-1 k apply -f "$HERE/storageclass.yaml"
for i in $(seq "$NODES"); do
    wait_for "node$i is registered" 120 "kubelet-$i" k get node "node$i"
    wait_for "node$i is ready" 120 "kubelet-$i" k wait --for=condition=Ready "node/node$i" --timeout=2s
done
