# Brings the system tables of a data folder that an older series has served along, and notes there that this one has had it
# (start.sh). Arguments: how the server is found.
bring_along() {
    # It ends with 0 where that is needed.
    mariadb-upgrade --defaults-file=/etc/mysql/my.cnf "$@" --user=mysql --check-if-upgrade-is-needed >/dev/null || return 0
    mariadb-upgrade --defaults-file=/etc/mysql/my.cnf "$@" --user=mysql --silent >/tmp/upgrade.log 2>&1 || { tail -n 12 /tmp/upgrade.log >&2; exit 1; }
    echo "the system tables are those of $(mariadbd --version | sed 's/.*Ver \([0-9.]*\).*/\1/')"
}
