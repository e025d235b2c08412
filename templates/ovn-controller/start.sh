set -eu
wait={{ var.ovn_flow_wait }}
# Where there are no flows yet, nobody waits for them.
ovs-vsctl --timeout=20 br-exists '{{ var.ovn_bridge }}' || wait=0
ovs-vsctl --timeout=20 --no-wait -- set Open_vSwitch . \
    external_ids:ovn-remote='{% for node in hosts_of(container="ovn-sb") %}{% if not loop.first %},{% endif %}tcp:{{ node.address }}:{{ port.ovn_sb }}{% endfor %}' \
    external_ids:ovn-remote-probe-interval={{ var.ovn_probe * 1000 }} \
    external_ids:ovn-monitor-all=true \
    external_ids:ovn-match-northd-version=true \
    external_ids:ovn-encap-type=geneve \
    external_ids:ovn-encap-ip='{% if var.ovn_tunnel_address %}{{ var.ovn_tunnel_address }}{% else %}{{ host.address }}{% endif %}' \
    external_ids:ovn-bridge='{{ var.ovn_bridge }}' \
    external_ids:ovn-bridge-datapath-type="$(cat /run/openvswitch/datapath)" \
    external_ids:ovn-bridge-mappings='{{ var.neutron_physical_networks | first }}:{{ var.openvswitch_external_bridge }}' \
    external_ids:ovn-cms-options={% if var.ovn_gateway %}enable-chassis-as-gw{% else %}'""'{% endif %} \
    external_ids:ovn-ofctrl-wait-before-clear="$wait"
exec ovn-controller --unixctl=/run/ovn/ovn-controller.ctl -vconsole:info -vsyslog:off -vfile:off unix:/run/openvswitch/db.sock
