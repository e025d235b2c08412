set -eu
# Where a newer series has begun to serve. It ends with 0 where that is needed.
if mariadb-upgrade --defaults-file=/etc/mysql/my.cnf --user=mysql --check-if-upgrade-is-needed >/dev/null; then
    mariadb-upgrade --defaults-file=/etc/mysql/my.cnf --user=mysql --silent >/tmp/upgrade.log 2>&1 || { tail -n 12 /tmp/upgrade.log >&2; exit 1; }
    echo "the system tables are those of $(mariadbd --version | sed 's/.*Ver \([0-9.]*\).*/\1/')"
fi
# Accounts of no name and of root over the network: MariaDB makes none with --skip-test-db; --batch stops at the first error.
mariadb --defaults-file=/etc/mysql/my.cnf --user=mysql --batch </etc/mysql/accounts.sql
echo "databases and accounts are as the profile has them"
