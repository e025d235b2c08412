# Ends every process of a cgroup, $1, by its path below each hierarchy, and removes it. Nothing is there: nothing to do.
processes() { cat /sys/fs/cgroup/"$1"/cgroup.procs /sys/fs/cgroup/*/"$1"/cgroup.procs 2>/dev/null | sort -u; }
signal() { for process in $(processes "$2"); do kill -s "$1" "$process" 2>/dev/null; done; }
# The kernel tells nobody of cgroup 1's that one has become empty.
emptied() {
    for _ in $(seq 50); do
        [ -n "$(processes "$1")" ] || return 0
        sleep 0.1
    done
    return 1
}
echo "$(processes "$1" | wc -l) processes in $1"
signal TERM "$1"
emptied "$1" || { signal KILL "$1"; emptied "$1"; } || { echo "these do not end: $(processes "$1" | tr '\n' ' ')" >&2; exit 1; }
for cgroup in /sys/fs/cgroup/"$1" /sys/fs/cgroup/*/"$1"; do
    [ ! -d "$cgroup" ] || rmdir "$cgroup"
done
