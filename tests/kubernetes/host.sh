#!/bin/bash
# host.sh stop N   ends all that runs on host N at once, as a power cut does
# host.sh start N  starts it again, with its disk as it was
set -euo pipefail
. "$(dirname "$0")/settings.sh"
usage="usage: host.sh stop|start N, of the cluster in $STATE"
[ $# -eq 2 ] || { echo "$usage" >&2; exit 2; }
host=$2
[ -d "$RUN/node$host" ] && [ -f "$RUN/environment" ] || { echo "no host $host in $STATE" >&2; exit 1; }
case $1 in
    start)
        [ -z "$(processes "$host")" ] || { echo "host $host runs already" >&2; exit 1; }
        . "$RUN/environment"
        export STATE RUN CGROUP KUBE NODES NODE_IP SERVICES PODS NODE="$host" "$MARK=$RUN:$host"
        # No file of the caller's is kept open: a lock is one.
        setsid nohup nsenter --net="$NET/$host" unshare --mount --pid --fork \
            --kill-child --mount-proc --propagation private bash "$HERE/node.sh" \
            >>"$RUN/log/node$host.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
        ;;
    stop)
        # Process 1 of the host is among them, and all inside end with it.
        end_processes "$host"
        ;;
    *)
        echo "$usage" >&2
        exit 2
        ;;
esac
