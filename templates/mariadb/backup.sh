# What is known of restore points: made, tried, taken back. Each is a stream of mariadb-backup in one file, and a line about it.
#
#     backup.sh make POINT RELEASE [KEPT]  copies all databases, which are that release's, consistently, while they are used; KEPT, another
#                                        point, does not go for it
#     backup.sh rehearse POINT RELEASE   restores it beside the server, starts a server on it, and looks at every table
#     backup.sh restore POINT RELEASE    makes it the server's data; the server must not run
set -eu -o pipefail
home=/var/backups/mysql data=/var/lib/mysql/data
point=$2 release=$3 kept=${4:-}
file="$home/data/$point"
about="$home/points/$point.json"
mkdir -p "$home/data" "$home/points"

{% include "shared/system-tables.sh" %}
{% if var.mariadb_backup_encrypted -%}
seal() { openssl enc -aes-256-ctr -pbkdf2 -pass file:/etc/mysql/backup.key; }
{%- else -%}
seal() { cat; }
{%- endif %}

# Runs a program whose many lines matter only when it fails.
quietly() {
    "$@" 2>/tmp/said || { tail -n 12 /tmp/said >&2; return 1; }
}

# A point says by itself whether it is sealed: the setting may have changed since.
open_up() {
    if grep -q '"encrypted": true' "$about"; then
        openssl enc -d -aes-256-ctr -pbkdf2 -pass file:/etc/mysql/backup.key -in "$file"
    else
        cat "$file"
    fi | gzip -d
}

# Unpacks a point into a new folder, whole and ready to be served.
unpack() {
    [ -e "$about" ] || { echo "there is no point $point" >&2; exit 1; }
    grep -qF "$(sha256sum <"$file" | cut -d' ' -f1)" "$about" || { echo "$point is damaged: its checksum is another one" >&2; exit 1; }
    rm -rf "$1" && mkdir "$1"
    open_up | quietly mbstream -x -C "$1" || { echo "$point cannot be unpacked" >&2; exit 1; }
    quietly mariadb-backup --prepare --target-dir="$1" || { echo "$point cannot be made ready" >&2; exit 1; }
}

make() {
    began=$SECONDS
    # One at a time, by the deployment's lock: what is here was left by one that was killed.
    rm -f "$home"/data/.new "$home"/points/.new
    trap 'rm -f "$home"/data/.new "$home"/points/.new' EXIT
    quietly mariadb-backup --defaults-file=/etc/mysql/my.cnf --user=mysql --backup --stream=mbstream --target-dir=/tmp/room \
        | gzip -1 | seal >"$home/data/.new" || { echo "the databases could not be copied" >&2; exit 1; }
    sum=$(sha256sum <"$home/data/.new" | cut -d' ' -f1)
    bytes=$(stat -c %s "$home/data/.new")
    cat >"$home/points/.new" <<END
{"point": "$point", "release": "$release", "made_at": "$(date -u +%Y-%m-%dT%H:%M:%SZ)", "bytes": $bytes, "encrypted": {{ var.mariadb_backup_encrypted }}, "sha256": "$sum"}
END
    sync "$home/data/.new" "$home/points/.new"
    mv "$home/data/.new" "$file"
    mv "$home/points/.new" "$about"
    sync "$home/data" "$home/points"
    # The oldest go, but what is pinned, which does not count.
    left={{ var.mariadb_backups }}
    ls -t "$home/points" | while read -r name; do
        name=${name%.json}
        if [ -s "$home/pins/$name" ] || [ "$name" = "$kept" ]; then continue; fi
        left=$((left - 1))
        if [ "$left" -lt 0 ]; then rm -f "$home/points/$name.json" "$home/data/$name"; fi
    done
    echo "made $point: $((bytes / 1024)) KiB in $((SECONDS - began)) s"
}

# Starts a server on a folder, for nobody but us.
serve() {
    mariadbd --defaults-file=/etc/mysql/my.cnf --datadir="$1" --socket="$socket" --pid-file=/tmp/beside.pid --skip-networking \
        --innodb-buffer-pool-size=64M >/tmp/server 2>&1 &
    server=$!
    # Whichever is first: it greets, or it ends.
    /mastic-init check --wait 60 "mysql:unix:$socket" >/dev/null 2>&1 &
    check=$!
    wait -n "$server" "$check" && kill -0 "$server" 2>/dev/null && return
    tail -n 12 /tmp/server >&2
    echo "no server starts on $point" >&2
    exit 1
}
socket=/tmp/beside.sock
ask() { mariadb --defaults-file=/etc/mysql/my.cnf --socket="$socket" --user=mysql --batch --skip-column-names "$@"; }

rehearse() {
    began=$SECONDS
    room="$home/rehearsal"
    trap 'rm -rf "$room"' EXIT
    unpack "$room"
    serve "$room"
    bad=$(mariadb-check --defaults-file=/etc/mysql/my.cnf --socket="$socket" --user=mysql --all-databases --check --quick --silent 2>&1) || true
    [ -z "$bad" ] || { echo "$bad" >&2; echo "tables of $point are damaged" >&2; exit 1; }
    tables=$(ask -e "SELECT COUNT(*) FROM information_schema.tables WHERE table_type = 'BASE TABLE'")
    names=$(ask -e "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')")
    kill "$server" && wait "$server"
    echo "$point can be restored: $names databases, $tables tables looked at, in $((SECONDS - began)) s"
}

restore() {
    began=$SECONDS
    if mariadb-admin --defaults-file=/etc/mysql/my.cnf --user=mysql ping >/dev/null 2>&1; then
        echo "the server runs: stop it first" >&2
        exit 1
    fi
    unpack "$data.restored"
    # Before it counts, it has served; and it has the system tables, accounts and passwords of today.
    serve "$data.restored"
    bring_along --socket="$socket"
    ask </etc/mysql/accounts.sql
    kill "$server" && wait "$server"
    # Killed between the two, the next run finds no data, and the restored beside it: it begins anew.
    rm -rf "$data.before"
    if [ -d "$data" ]; then mv "$data" "$data.before"; fi
    mv "$data.restored" "$data"
    sync /var/lib/mysql
    echo "the databases are those of $point, in $((SECONDS - began)) s; what they were before is kept beside them until the next restore"
}

"$1"
