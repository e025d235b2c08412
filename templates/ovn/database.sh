set -eu
schema=/usr/share/ovn/{{ container.name }}.ovsschema
database=/var/lib/ovn/database.db
{% include "shared/ovsdb.sh" -%}
# The server wants to write there, too.
cp /etc/ovn/database.json /run/ovn/database.json
exec ovsdb-server --config-file=/run/ovn/database.json --unixctl=/run/ovn/database.ctl -vconsole:info -vsyslog:off -vfile:off
