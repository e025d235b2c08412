# open BACKEND/SERVER: send requests there again, as soon as its check passes.
# drain BACKEND/SERVER SECONDS: send none any more, and wait until those under way are answered; says `busy` if some are not by then.
set -eu
act=$1 server=$2 seconds=${3:-5}
# An end of what is asked would interrupt `wait`: only HAProxy hangs up.
ask() { printf '%s\n' "$1" | socat -t $((seconds + 5)) - UNIX-CONNECT:/run/haproxy/admin.sock,shut-none; }
case $act in
open)
    # A server that is ready counts as up until a check says otherwise: one that was out is told to be down first.
    state=$(ask "show servers state ${server%/*}" | awk -v name="${server#*/}" '$4 == name {print $7}')
    [ "$state" = 0 ] || said=$(ask "set server $server state ready; set server $server health down") ;;
drain)
    # Its successor answers; HAProxy knows only once its own check has passed there, and would have no server until then.
    for _ in $(seq 100); do
        ask "show servers state ${server%/*}" | awk -v name="${server#*/}" '$4 != name && $6 == 2 && $7 == 0 {up = 1} END {exit !up}' && break
        sleep 0.05
    done
    # Out of rotation; what is under way goes on. It can be removed when it has no connection left.
    said=$(ask "set server $server state maint; wait ${seconds}s srv-removable $server")
    case $said in *Done.*) ;; *) echo busy ;; esac ;;
esac
# A request that is not answered in time goes on: the server's own stop lets it end, or cuts it off.
case ${said:-} in *"No such"*) printf '%s\n' "$said" >&2; exit 1 ;; esac
