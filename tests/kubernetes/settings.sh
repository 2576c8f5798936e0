# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it: where a cluster keeps its state, and what its parts are called.
# Clusters with different STATE do not meet; by default each working copy has one of its own.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${STATE:-}" ]; then
    STATE=${CARGO_TARGET_DIR:-target}/test-kubernetes
    [ "${STATE:0:1}" = / ] || STATE=$(cd "$HERE/../.." && pwd)/$STATE
fi
hashed=$(printf %s "$STATE" | sha256sum | cut -c1-8)
# A unix socket's path has at most 107 characters, and ours are up to 50 longer than STATE. The hosts
# see folders of their own at /run, /var/lib and /var/log.
case $STATE in
    /run/* | /var/run/* | /var/lib/* | /var/log/*) STATE=/tmp/test-kubernetes-$hashed ;;
    *) [ ${#STATE} -le 55 ] || STATE=/tmp/test-kubernetes-$hashed ;;
esac
CGROUP=vs$(printf %s "$STATE" | sha256sum | cut -c1-8) # the name of its cgroups
RUN=$STATE/run # what belongs to the running cluster; down.sh leaves only its logs
NET=$RUN/net   # the network namespace of host N is mounted on the file N in it
# Every process of host N that is started from outside carries this in its environment, so it is
# found whatever has been killed before.
MARK=VECTORSPHERE_TEST_KUBERNETES_HOST

# Prints the ids of the processes of host $1, or of all hosts and what belongs to them.
processes() {
    # A process that ends meanwhile is none of ours any more.
    { grep -lzE "^$MARK=$RUN:${1:-[a-z0-9]+}\$" /proc/[0-9]*/environ 2>/dev/null || true; } |
        cut -d/ -f3
}

# Ends the processes of host $1, or all, at once, and waits until they are gone.
end_processes() {
    local left
    for _ in $(seq 100); do
        left=$(processes "$@")
        [ -n "$left" ] || return 0
        # shellcheck disable=SC2086
        kill -9 $left 2>/dev/null || true
        sleep 0.1
    done
    # shellcheck disable=SC2086
    echo "still there after 10 s, though killed: processes" $left >&2
    return 1
}
