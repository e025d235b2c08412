set -eu
{% include "shared/system-tables.sh" %}
bring_along
# Accounts of no name and of root over the network: MariaDB makes none with --skip-test-db; --batch stops at the first error.
mariadb --defaults-file=/etc/mysql/my.cnf --user=mysql --batch </etc/mysql/accounts.sql
echo "databases and accounts are as the profile has them"
