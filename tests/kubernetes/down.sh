#!/bin/bash
# Ends what up.sh started under the same STATE, whatever became of it, and only that. The logs, in
# $STATE/run/log, and the images stay.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
failed=0

end_processes || failed=1
for namespace in $(ip netns list 2>/dev/null | awk '{ print $1 }' | grep -E "^$NS(-[0-9])?$" || true); do
    ip netns del "$namespace" 2>/dev/null || rm -f "/run/netns/$namespace" || failed=1
done
# `ip netns add` leaves a mount for all of them.
if mountpoint -q /run/netns && [ -z "$(ls -A /run/netns)" ]; then
    umount /run/netns || true
fi
for tree in "/sys/fs/cgroup/$NS" /sys/fs/cgroup/*/"$NS"; do
    for _ in $(seq 100); do # the kernel takes a moment to let go of them
        [ -d "$tree" ] || break
        find "$tree" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        [ ! -d "$tree" ] || sleep 0.1
    done
    [ ! -d "$tree" ] || { echo "cannot remove the cgroup $tree" >&2; failed=1; }
done
for left in "$RUN"/* "$STATE/volumes" "$STATE/kubeconfig"; do
    [ "$left" = "$RUN/log" ] || rm -rf "$left" || failed=1
done
exit "$failed"
