set -eu
# A check that asks this file name reaches this process and no other: the name behind it is new with each start, so that
# the sockets that HAProxy inherits from a predecessor never include it.
SELF=/run/self/$(cat /proc/sys/kernel/random/uuid)
export SELF
ln -sf "$SELF" /run/self/socket
# A predecessor that still serves hands its listening sockets over; after a crash or a stop there is only its socket's file.
if /mastic-init check --timeout 1 unix:/run/haproxy/admin.sock >/dev/null 2>&1; then
    exec haproxy -db -f /etc/haproxy/haproxy.cfg -x /run/haproxy/admin.sock
fi
exec haproxy -db -f /etc/haproxy/haproxy.cfg
