set -eu
# Who is in the group may connect.
umask 007
# The volume has the mode that the image of whoever was made first gives it.
chmod 770 /run/openvswitch
database=/var/lib/openvswitch/conf.db
schema=/usr/share/openvswitch/vswitch.ovsschema
{% include "shared/ovsdb.sh" -%}
exec ovsdb-server --remote=punix:/run/openvswitch/db.sock --unixctl=/run/openvswitch/ovsdb.ctl \
    -vconsole:info -vsyslog:off -vfile:off "$database"
