set -eu
{%- if container.name == "ovn-nb" %}
schema=/usr/share/ovn/ovn-nb.ovsschema
{%- else %}
schema=/usr/share/ovn/ovn-sb.ovsschema
{%- endif %}
database=/var/lib/ovn/database.db
if [ ! -e "$database" ]; then
    # It gets its name when it is whole.
    rm -f "$database.new"
    ovsdb-tool create "$database.new" "$schema"
    mv "$database.new" "$database"
elif [ "$(ovsdb-tool needs-conversion "$database" "$schema")" = yes ]; then
    ovsdb-tool convert "$database" "$schema"
fi
# The server wants to write there, too.
cp /etc/ovn/database.json /run/ovn/database.json
exec ovsdb-server --config-file=/run/ovn/database.json --unixctl=/run/ovn/database.ctl -vconsole:info -vsyslog:off -vfile:off
