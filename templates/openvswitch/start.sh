set -eu
umask 007
bridge={{ var.openvswitch_external_bridge }}
datapath={{ var.openvswitch_datapath }}
# Only root may open it where nothing like udev sets modes; this is the container's own node.
chmod 666 /dev/net/tun
if [ "$datapath" = auto ]; then
    # Asking makes the kernel load its module, if it has one.
    if ovs-dpctl dump-dps >/dev/null 2>&1; then datapath=system; else datapath=netdev; fi
fi
echo "datapath $datapath"
# Who plugs ports must know it.
echo "$datapath" >/run/openvswitch/datapath.new
mv /run/openvswitch/datapath.new /run/openvswitch/datapath
# Guests leave checksums to the device; in user space, that is us.
tso=false
if [ "$datapath" = netdev ]; then tso=true; fi
# A tap device gets a new random address at each start, and neighbours would go on asking for the old.
mac=$(printf '%s' '{{ deployment }} {{ host.name }}' "$bridge" | sha256sum | sed 's/^\(..\)\(..\)\(..\)\(..\)\(..\).*/02:\1:\2:\3:\4:\5/')
# What is in the database before the daemon starts, it has from the first moment.
ovs-vsctl --timeout=10 --no-wait -- init \
    -- set Open_vSwitch . external_ids:system-id='{{ host.name }}' external_ids:hostname='{{ host.name }}' other_config:userspace-tso-enable=$tso \
    -- --may-exist add-br "$bridge" \
    -- set bridge "$bridge" datapath_type=$datapath other_config:hwaddr="$mac"
{%- if var.openvswitch_external_interface %}
ovs-vsctl --timeout=10 --no-wait -- --may-exist add-port "$bridge" '{{ var.openvswitch_external_interface }}'
{%- endif %}
(
    # Comes back when the daemon has done what the database says, which it waits for only where it changed something itself.
    ovs-vsctl --timeout=50 set Open_vSwitch . external_ids:mastic-start="$(cat /proc/sys/kernel/random/uuid)"
    ip link set "$bridge" up
{%- if var.openvswitch_external_interface %}
    ip link set '{{ var.openvswitch_external_interface }}' up
{%- endif %}
{%- if var.neutron_external_cidr_gateway %}
    ip address replace '{{ var.neutron_external_cidr_gateway }}' dev "$bridge"
{%- endif %}
    : >/run/self/ready
) &
# libvirt sets a guest's device up while the daemon, which has just found it, makes it promiscuous: the daemon writes all flags as it last
# knew them, and the device is down for good (seen: two first servers of five had no address). What is promiscuous here is the
# daemon's, and is up. `ip` changes that one flag alone.
(
    while true; do
        ip -oneline monitor link | while read -r line; do
            rest=${line#*: }
            device=${rest%%:*}
            flags=${rest#*<}
            case "$line ,${flags%%>*}," in
                Deleted*|*,UP,*) ;;
                *": tap"*,PROMISC,*) ip link set "${device%%@*}" up 2>/dev/null || true ;;
            esac
        done
        sleep 1
    done
) &
exec ovs-vswitchd --user openvswitch:openvswitch --unixctl=/run/openvswitch/vswitchd.ctl --pidfile=/run/openvswitch/vswitchd.pid \
    -vconsole:info -vsyslog:off -vfile:off unix:/run/openvswitch/db.sock
