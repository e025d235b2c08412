set -eu
# With the host's processes in view, an old number may be anybody's.
rm -f /run/libvirtd.pid
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
    rm -f /run/libvirt/virtlogd.pid
    virtlogd --daemon --config /etc/libvirt/virtlogd.conf --pid-file /run/libvirt/virtlogd.pid
fi
# Outside of the container's cgroups it would outlive even a killed container, and meet its successor.
setpriv --pdeathsig KILL libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid &
daemon=$!
trap 'kill -TERM $daemon' TERM INT
code=0
# A signal ends the waiting, not the daemon.
while kill -0 $daemon 2>/dev/null; do
    code=0
    wait $daemon || code=$?
done
# Without guests nobody needs virtlogd: nothing is left behind, and a newer one comes with the next container.
if ! ls /run/libvirt/qemu/*.pid >/dev/null 2>&1; then
    kill -TERM "$(cat /run/libvirt/virtlogd.pid)" || true
fi
exit $code
