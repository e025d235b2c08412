"""Makes the rings what the profile's hosts ask for, and keeps them so: `python3 -m mastic_swift.rings WANTED`.

WANTED is a JSON file: `{"me", "hosts": [{"name", "address"}], "devices": [..], "weights": ["HOST=W", "HOST/DEVICE=W"],
"weight": W, "part_power": N, "replicas": N, "min_part_hours": N, "ports": {"account", "container", "object", "rsync"}}`.

The first host builds and rebalances; the others copy from it, builder files included, so that any of them can be the first
one day. A rebalance moves at most one replica of a partition in `min_part_hours`: it is repeated after that time until one that
was free to move everything moved nothing. Other runs only look at two small files. /tmp/done is there once the rings fit.
"""

import json
import os
import subprocess
import sys
import time

RINGS = "/var/lib/swift/rings"
MADE = f"{RINGS}/made.json"
DONE = "/tmp/done"
NODE = "/srv/node"


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def devices(wanted):
    """Returns the weight of each (host, device) that is in the ring."""
    exact = dict(item.rsplit("=", 1) for item in wanted["weights"])
    weights = {}
    for host in wanted["hosts"]:
        for device in wanted["devices"]:
            name = host["name"]
            weight = float(exact.get(f"{name}/{device}", exact.get(name, wanted["weight"])))
            if weight > 0:
                weights[name, device] = weight
    return weights


def shape(wanted):
    """What rings are made from; the same on all hosts."""
    return {key: value for key, value in wanted.items() if key != "me"}


def change(builder, wanted, port):
    """Brings the builder's list of devices to what is wanted: one zone for each host, which it keeps for ever."""
    weights = devices(wanted)
    addresses = {host["name"]: host["address"] for host in wanted["hosts"]}
    known = {(dev["meta"], dev["device"]): dev for dev in builder.devs if dev}
    zones = {dev["meta"]: dev["zone"] for dev in known.values()}
    for key in known.keys() - weights.keys():
        builder.remove_dev(known[key]["id"])
    for (host, device), weight in sorted(weights.items()):
        place = {"ip": addresses[host], "port": port, "replication_ip": addresses[host], "replication_port": port}
        dev = known.get((host, device))
        if dev is None:
            zone = zones.setdefault(host, max(zones.values(), default=0) + 1)
            builder.add_dev({"region": 1, "zone": zone, "device": device, "weight": weight, "meta": host, **place})
            continue
        dev.update(place)
        if dev["weight"] != weight:
            builder.set_dev_weight(dev["id"], weight)
    replicas = min(wanted["replicas"], len(weights))
    if builder.replicas != replicas:
        builder.set_replicas(replicas)


def build(wanted):
    from swift.common.ring import RingBuilder

    moved_any, wait = False, 0
    for kind in ("account", "container", "object"):
        path = f"{RINGS}/{kind}.builder"
        if os.path.exists(path):
            builder = RingBuilder.load(path)
        else:
            builder = RingBuilder(wanted["part_power"], 1, wanted["min_part_hours"])
        if builder.part_power != wanted["part_power"]:
            sys.exit(f"the {kind} ring has 2^{builder.part_power} partitions, which no option can change any more: "
                     f"set swift_part_power back to {builder.part_power}")
        builder.change_min_part_hours(wanted["min_part_hours"])
        change(builder, wanted, wanted["ports"][kind])
        held_back = builder.min_part_seconds_left
        moved, balance, _ = builder.rebalance(seed="mastic")
        builder.validate()
        builder.save(f"{path}.new")
        os.rename(f"{path}.new", path)
        builder.get_ring().save(f"{RINGS}/{kind}.ring.gz")
        moved_any = moved_any or moved > 0 or held_back > 0
        wait = max(wait, builder.min_part_seconds_left)
        print(f"{kind}: {builder.replicas:g} replicas on {len(devices(wanted))} devices, {moved} partitions moved, "
              f"at most {balance:.1f} % off balance")
    # Last: who copies the rings knows by it that they are whole.
    again = time.time() + wait + 1 if moved_any else None
    with open(f"{MADE}.new", "w", encoding="utf-8") as file:
        json.dump({"shape": shape(wanted), "again": again}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{MADE}.new", MADE)


def copy(host, port):
    """Takes over the rings of another host. Each file is replaced as a whole, the record of them last."""
    source = f"rsync://{host['address']}:{port}/rings/"
    for names in (["*.builder", "*.ring.gz"], ["made.json"]):
        filters = [f"--include={name}" for name in names] + ["--exclude=*"]
        command = ["rsync", "--recursive", "--times", "--contimeout=5", "--timeout=30", *filters, source, f"{RINGS}/"]
        if subprocess.run(command, check=False).returncode != 0:
            return False
    return True


def main(path):
    wanted = read(path)
    for device in wanted["devices"]:
        os.makedirs(f"{NODE}/{device}", exist_ok=True)
    made = read(MADE)
    first, *others = wanted["hosts"]
    fits, again = made.get("shape") == shape(wanted), made.get("again")
    if not fits or again:
        if first["name"] != wanted["me"]:
            copy(first, wanted["ports"]["rsync"])
        else:
            # A first host without rings among others that have them is a new machine: theirs are the ones in use.
            if not made:
                any(copy(host, wanted["ports"]["rsync"]) for host in others)
            if not fits or time.time() > again:
                build(wanted)
        if read(MADE).get("shape") != shape(wanted):
            sys.exit(f"the rings of {first['name']} are not yet those of this profile")
    open(DONE, "w").close()


if __name__ == "__main__":
    main(sys.argv[1])
