set -eu
if [ "$(cat /run/openvswitch/datapath)" = netdev ]; then
    # Ports of the switch itself are tap devices then, which become useless when it restarts: pairs of devices do not.
    export OS_OVS__DATAPATH_TYPE=netdev OS_DEFAULT__OVS_USE_VETH=true
fi
exec "$@" --config-file /etc/neutron/neutron.conf
