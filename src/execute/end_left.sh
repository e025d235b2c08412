# Ends every process of a cgroup, $1, by its path below each hierarchy; removes it, and what of /run/netns they were in.
# Nothing is there: nothing to do.
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
network() { stat -L -c %i "/proc/$1/ns/net" 2>/dev/null; }
# The host's own may have a name, too: the host may be one of several on a machine.
networks() { for process in $(processes "$1"); do network "$process"; done | sort -u | grep -vx "$(network self)"; }

networks=$(networks "$1")
echo "$(processes "$1" | wc -l) processes in $1"
signal TERM "$1"
emptied "$1" || { signal KILL "$1"; emptied "$1"; } || { echo "these do not end: $(processes "$1" | tr '\n' ' ')" >&2; exit 1; }
# Who has ended is in it until its parent has taken note. One that stays does no harm: it is empty.
for _ in $(seq 20); do
    left=
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -d "$hierarchy/$1" ] || continue
        # With the parents in which there is no other.
        (cd "$hierarchy" && rmdir --parents --ignore-fail-on-non-empty "$1")
        [ ! -d "$hierarchy/$1" ] || left=yes
    done
    [ -n "$left" ] || break
    sleep 0.1
done
for namespace in /run/netns/*; do
    [ -e "$namespace" ] || continue
    for network in $networks; do
        [ "$(stat -c %i "$namespace")" != "$network" ] || { umount --lazy "$namespace" && rm "$namespace"; } || exit 1
    done
done
