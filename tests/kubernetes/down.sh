#!/bin/bash
# Ends what up.sh started under the same STATE, whatever became of it, and only that. The logs, in
# $STATE/run/log, and the images stay.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
failed=0

end_processes || failed=1
for namespace in "$NET"/*; do
    for _ in $(seq 10); do umount -l "$namespace" 2>/dev/null || break; done
done
for tree in "/sys/fs/cgroup/$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
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
