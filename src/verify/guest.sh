#!/bin/sh
# Run by the guest of `mastic verify` (by our own guest's init, or by cloud-init). What it finds goes to the console, a line each,
# after "mastic-verify:", where the run reads it: so no login is needed. Any Linux with sh, dd, sha256sum and wget or curl will do.
exec </dev/null >/dev/console 2>&1
say() { echo "mastic-verify: $*"; }
fetch() { wget -q -T 5 -O - "$1" 2>/dev/null || curl -sf -m 5 "$1"; }

say "address $(ip -4 -o addr show scope global | sed 's/.* inet \([0-9.]*\).*/\1/' | tr '\n' ' ')"

id=
until [ -n "$id" ]; do
    id=$(fetch http://169.254.169.254/openstack/latest/meta_data.json | sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p')
    [ -n "$id" ] || sleep 1
done
say "metadata $id"

# Whoever reaches port 80 is told which server answered.
mkdir -p /tmp/www
echo "$id" >/tmp/www/index.html
if command -v httpd >/dev/null; then
    httpd -p 80 -h /tmp/www
elif command -v busybox >/dev/null; then
    busybox httpd -p 80 -h /tmp/www
else
    (cd /tmp/www && exec python3 -m http.server 80 >/dev/null 2>&1) &
fi
say ready

# Every disk that comes later: one that nobody wrote to yet gets a pattern, one with our mark is read back.
size=1048576
sum() { dd if="$1" bs=65536 count=16 2>/dev/null | sha256sum | cut -d ' ' -f 1; }
known=" "
while :; do
    for disk in /dev/vd[b-z] /dev/sd[b-z]; do
        [ -b "$disk" ] || continue
        # The kernel numbers disks as they come: one that left and came back between two looks has another number.
        key=$disk@$(cat "/sys/block/${disk#/dev/}/diskseq" 2>/dev/null)
        case $known in *" $key "*) continue ;; esac
        # One that leaves at this moment cannot be read. Whoever wrote to it all the same made a plain file of that name, in whose
        # place no disk came any more (measured).
        dd if="$disk" of=/tmp/head bs=16 count=1 2>/dev/null && [ -s /tmp/head ] && [ -b "$disk" ] || continue
        known="$known$key "
        if [ "$(cat /tmp/head)" = "mastic-verify:01" ]; then
            say "disk read $disk $(sum "$disk")"
        else
            { printf mastic-verify:01; dd if=/dev/urandom bs=65536 count=16 2>/dev/null; } | head -c $size >/tmp/pattern
            if dd if=/tmp/pattern of="$disk" bs=65536 conv=fsync,notrunc 2>/tmp/dd; then
                say "disk wrote $disk $(sum /tmp/pattern)"
            else
                say "disk failed $disk $(tail -n 1 /tmp/dd)"
            fi
        fi
    done
    sleep 0.3 2>/dev/null || sleep 1
done
