# Starts the server, unless one of a newer series has had its data: MariaDB changes its files on the way up, and reads no newer ones.
set -eu
data=/var/lib/mysql/data

series() { grep -oE '[0-9]+\.[0-9]+' | head -n 1; }

own=$(mariadbd --version | sed 's/.*Ver //' | series)
# Written by mariadb-install-db and by mariadb-upgrade; the second is its older name.
for file in "$data/mariadb_upgrade_info" "$data/mysql_upgrade_info"; do
    [ -r "$file" ] || continue
    last=$(series <"$file")
    if [ -n "$last" ] && [ "$(printf '%s\n' "$own" "$last" | sort -V | tail -n 1)" != "$own" ]; then
        echo "MariaDB $last has had this data, and $own cannot read it: no MariaDB goes back to an older series. Go on with $last (docs/guides/upgrade.md, 'The database')" >&2
        exit 1
    fi
done
exec mariadbd --defaults-file=/etc/mysql/my.cnf
