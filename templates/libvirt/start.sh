set -eu
# Guests' processes must be able to open what the host has for their speed. Where udev gave it to a group, they join that group.
for device in /dev/kvm /dev/vhost-net; do
    [ -c "$device" ] || continue
    group=$(stat -c %g "$device")
    if [ "$group" = 0 ]; then
        chgrp kvm "$device" && chmod 660 "$device"
    elif ! getent group "$group" | grep -q libvirt-qemu; then
        getent group "$group" >/dev/null || groupadd --gid "$group" "host-$group"
        usermod --append --groups "$group" libvirt-qemu
    fi
done
# The guests' consoles go to virtlogd through pipes: it lives as long as they do, over every replacement of this container.
if ! /mastic-init check --timeout 2 unix:/run/libvirt/virtlogd-sock >/dev/null 2>&1; then
    rm -f /run/virtlogd.pid
    virtlogd --daemon --config /etc/libvirt/virtlogd.conf
fi
# With the host's processes in view, an old number may be anybody's.
rm -f /run/libvirtd.pid
exec libvirtd --config /etc/libvirt/libvirtd.conf
