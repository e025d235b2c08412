set -eu
# A check that asks this file name reaches this process and no other: the name behind it is new with each start, so that
# the sockets that HAProxy inherits from a predecessor never include it.
SELF=/run/self/$(cat /proc/sys/kernel/random/uuid)
export SELF
ln -sf "$SELF" /run/self/socket

# An older release that is kept for the way back is frozen: it still accepts connections on its ports, and answers none. HAProxy
# takes every server for well until a check says otherwise, which would take three checks of ten seconds: of two servers of a
# backend, the one that does not answer begins as down if the other does.
answers() { /mastic-init check --timeout 1 --insecure "$1" >/dev/null 2>&1 && : >"/run/self/$2"; }
down() { [ ! -e "/run/self/$2.$4" ] || [ -e "/run/self/$2.$3" ] || echo "0 $2 0 $3 $5 0 0 1 1 0 7 2 0 6 0 0 0 - $6 - $1 0 - - 0"; }
{% for proxy in proxies -%}
{%- if proxy.mode == "http" and proxy.check != "" -%}
{%- for server in proxy.servers -%}
{%- if server.spare_port != 0 -%}
{%- set scheme = "https" if proxy.backend_tls else "http" -%}
answers {{ scheme }}://{{ server.address }}:{{ server.port }}{{ proxy.check }} {{ proxy.name }}.{{ server.name }} &
answers {{ scheme }}://{{ server.address }}:{{ server.spare_port }}{{ proxy.check }} {{ proxy.name }}.{{ server.spare_name }} &
{% endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
wait
{
    echo 1
    echo "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
{%- for proxy in proxies -%}
{%- if proxy.mode == "http" and proxy.check != "" -%}
{%- for server in proxy.servers -%}
{%- if server.spare_port != 0 %}
    down {{ 1 if proxy.backend_tls else 0 }} {{ proxy.name }} {{ server.name }} {{ server.spare_name }} {{ server.address }} {{ server.port }}
    down {{ 1 if proxy.backend_tls else 0 }} {{ proxy.name }} {{ server.spare_name }} {{ server.name }} {{ server.address }} {{ server.spare_port }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor %}
} >/run/self/servers

# A predecessor that still serves hands its listening sockets over; after a crash or a stop there is only its socket's file.
if /mastic-init check --timeout 1 unix:/run/haproxy/admin.sock >/dev/null 2>&1; then
    exec haproxy -db -f /etc/haproxy/haproxy.cfg -x /run/haproxy/admin.sock
fi
exec haproxy -db -f /etc/haproxy/haproxy.cfg
