# Killed at any instant, the next run begins anew: the data directory gets its name only when it is whole.
set -eu
data=/var/lib/mysql/data
if [ -d "$data" ]; then
    echo "there is a data directory already: nothing to do"
    exit 0
fi
rm -rf "$data.new"
# Durability is not needed for what is thrown away after a kill: one sync at the end is.
mariadb-install-db --defaults-file=/etc/mysql/my.cnf --datadir="$data.new" --skip-test-db --skip-name-resolve \
    --auth-root-authentication-method=socket --auth-root-socket-user=mysql \
    --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --innodb-doublewrite=OFF >/tmp/install.log 2>&1 \
    || { cat /tmp/install.log; exit 1; }
# Each file, not the file system: that is shared with all other containers.
find "$data.new" -exec sync {} +
mv "$data.new" "$data"
sync /var/lib/mysql
echo "made the system tables"
