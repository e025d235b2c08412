# image.sh FROM SUITE PINNED NEW AFTER PACKAGE... : an image with packages of another suite of Debian, from this machine's own mirror.
#
# PINNED are the packages that come from that suite (apt's globs); everything else stays trixie's where it can. AFTER is run last.
set -eu
from=$1 suite=$2 pinned=$3 new=$4 after=$5
shift 5
room=$(mktemp -d)
making=making-$$
trap 'rm -rf "$room"; docker rm -f $making >/dev/null 2>&1 || true' EXIT

# The machine's archive of today: a snapshot of the past (which a pinned build machine may have beside it) knows no newer suite.
uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1)
[ -n "$uri" ] || { echo "no source of Debian's packages on this machine" >&2; exit 1; }
cat >"$room/all.sources" <<END
Types: deb
URIs: $uri
Suites: $suite trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
printf 'Package: %s\nPin: release n=%s\nPin-Priority: 900\n' "$pinned" "$suite" >"$room/pin"
cat >"$room/run.sh" <<'END'
set -eu
after=$1
shift
cp /run/room/all.sources /etc/apt/sources.list.d/
cp /run/room/pin /etc/apt/preferences.d/pin
cp /run/host-conf/* /etc/apt/apt.conf.d/ 2>/dev/null || true
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --allow-downgrades \
    -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@"
sh -euc "$after"
rm -rf /etc/apt/sources.list.d/all.sources /etc/apt/preferences.d/pin /var/lib/apt/lists/* /usr/sbin/policy-rc.d
END
docker run --name "$making" --network host --user 0 -v "$room:/run/room:ro" -v /etc/apt/apt.conf.d:/run/host-conf:ro --entrypoint sh \
    "$from" /run/room/run.sh "$after" "$@" >"$room/log" 2>&1 || { tail -n 30 "$room/log" >&2; exit 1; }
docker commit --change 'ENTRYPOINT []' "$making" "$new" >/dev/null
