#!/bin/bash
# load.sh FILE...: imports docker-archives (see image.py) into every running node, and keeps them for
# hosts that start later.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
mkdir -p "$STATE/images"
for file in "$@"; do
    kept=$STATE/images/${file##*/}
    [ "$file" -ef "$kept" ] || { cp "$file" "$kept.new" && mv "$kept.new" "$kept"; }
    for node in "$RUN"/node*; do
        [ -n "$(processes "${node##*/node}")" ] || continue
        [ -S "$node/containerd/c.sock" ] || continue
        timeout 300 ctr -a "$node/containerd/c.sock" -n k8s.io images import "$kept" >/dev/null || {
            echo "${node##*/} did not take $kept; see $RUN/log/containerd-${node##*/node}.log" >&2
            exit 1
        }
    done
done
