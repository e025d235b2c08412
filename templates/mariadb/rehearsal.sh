# What is known of rehearsals: a copy of all databases, served to nobody but the tasks that are tried on it, and what it has.
#
#     rehearsal.sh copy     copies them beside the data, consistently, while they are used, and makes the copy ready
#     rehearsal.sh serve    serves the copy, as the server would but with memory of its own; accounts have the passwords of today
#     rehearsal.sh schema   says what there is, in lines of fields that tabs part (src/schema/read.rs)
set -eu -o pipefail

# Runs a program whose many lines matter only when it fails.
quietly() {
    "$@" 2>/tmp/said || { tail -n 12 /tmp/said >&2; return 1; }
}

copy() {
    began=$SECONDS room=/var/backups/mysql/data
    rm -rf "$room"
    need=$(du -sk /var/lib/mysql/data | cut -f1) free=$(df -Pk /var/backups/mysql | awk 'NR == 2 { print $4 }')
    # A tenth more: what is written meanwhile comes along.
    if [ $((need + need / 10)) -gt "$free" ]; then
        echo "a copy of the databases takes about $((need / 1024)) MiB, and $((free / 1024)) MiB are free" >&2
        exit 1
    fi
    quietly mariadb-backup --defaults-file=/etc/mysql/my.cnf --user=mysql --backup --target-dir="$room" \
        || { echo "the databases could not be copied" >&2; exit 1; }
    quietly mariadb-backup --prepare --target-dir="$room" || { echo "the copy cannot be made ready" >&2; exit 1; }
    echo "copied $(du -sm "$room" | cut -f1) MiB in $((SECONDS - began)) s"
}

serve() {
    exec mariadbd --defaults-file=/etc/mysql/my.cnf --innodb-buffer-pool-size={{ var.mariadb_rehearsal_buffer_pool }} --userstat=ON \
        --init-file=/etc/mysql/accounts.sql
}

schema() {
    /mastic-init check --wait 120 mysql:unix:/run/mysqld/mysqld.sock >&2
    mariadb --defaults-file=/etc/mysql/my.cnf --user=mysql --batch --skip-column-names <<'END'
SET SESSION group_concat_max_len = 1048576;
SELECT 'table', table_schema, table_name, table_type, COALESCE(table_rows, 0), COALESCE(data_length + index_length, 0), COALESCE(table_collation, '')
    FROM information_schema.tables WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');
SELECT 'column', table_schema, table_name, column_name, column_type, is_nullable, COALESCE(column_default, ''), extra, COALESCE(collation_name, '')
    FROM information_schema.columns WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');
SELECT 'index', table_schema, table_name, index_name, non_unique, index_type,
       GROUP_CONCAT(CONCAT(column_name, IF(sub_part IS NULL, '', CONCAT('(', sub_part, ')'))) ORDER BY seq_in_index)
    FROM information_schema.statistics WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
    GROUP BY table_schema, table_name, index_name, non_unique, index_type;
SELECT 'foreign', k.table_schema, k.table_name, k.constraint_name, GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position),
       CONCAT(k.referenced_table_name, '(', GROUP_CONCAT(k.referenced_column_name ORDER BY k.ordinal_position), ')'), r.update_rule, r.delete_rule
    FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
        ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name
    WHERE k.referenced_table_name IS NOT NULL
    GROUP BY k.table_schema, k.table_name, k.constraint_name, k.referenced_table_name, r.update_rule, r.delete_rule;
SELECT 'check', constraint_schema, table_name, constraint_name, check_clause FROM information_schema.check_constraints
    WHERE constraint_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');
SELECT 'trigger', event_object_schema, event_object_table, trigger_name, action_timing, event_manipulation, action_statement
    FROM information_schema.triggers WHERE event_object_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');
SELECT 'written', table_schema, table_name, rows_changed FROM information_schema.table_statistics
    WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');
END
}

"$1"
