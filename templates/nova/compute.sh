set -eu
{%- if var.nova_virt_type == "auto" %}
# The file /dev/kvm proves nothing: without the CPU's support it may be there and guests die of it (seen). Later files win.
if grep -qwE "vmx|svm" /proc/cpuinfo && python3 -c 'import libvirt; libvirt.open("qemu:///system").getDomainCapabilities(None, None, None, "kvm")' 2>/tmp/kvm; then
    printf '[libvirt]\nvirt_type = kvm\n' >/tmp/virt.conf
else
    echo "no KVM, so servers are emulated: $(tail -n 1 /tmp/kvm 2>/dev/null)"
    printf '[libvirt]\nvirt_type = qemu\ncpu_mode = none\n' >/tmp/virt.conf
fi
{%- else %}
: >/tmp/virt.conf
{%- endif %}
exec python3 /etc/nova/answering.py {{ host.address }} {{ port.nova_compute_check }} nova.cmd.compute \
    --config-file /etc/nova/nova.conf --config-file /tmp/virt.conf
