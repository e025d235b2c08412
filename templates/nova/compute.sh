set -eu
{%- if var.nova_virt_type == "auto" %}
# libvirt, not the file /dev/kvm, knows what its QEMU can do. Later files win.
if python3 -c 'import libvirt; libvirt.open("qemu:///system").getDomainCapabilities(None, None, None, "kvm")' 2>/tmp/kvm; then
    printf '[libvirt]\nvirt_type = kvm\n' >/tmp/virt.conf
else
    echo "no KVM, so servers are emulated: $(tail -n 1 /tmp/kvm)"
    printf '[libvirt]\nvirt_type = qemu\ncpu_mode = none\n' >/tmp/virt.conf
fi
{%- else %}
: >/tmp/virt.conf
{%- endif %}
exec python3 /etc/nova/answering.py {{ host.address }} {{ port.nova_compute_check }} nova.cmd.compute \
    --config-file /etc/nova/nova.conf --config-file /tmp/virt.conf
