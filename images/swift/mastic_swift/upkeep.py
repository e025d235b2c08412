"""Runs Swift's background daemons: `python3 -m mastic_swift.upkeep CONF SECONDS 'DAEMON ...'`, e.g. 'object-auditor object-updater'.

Each is a process of its own, forked from one that has loaded Swift once: most of their memory is the same. All end when one
does, and when one has not finished a pass for SECONDS. /tmp/working, the health check, is written once a minute from when all
have taken their configuration: a first pass may take hours, and cannot be waited for.
"""

import gc
import importlib
import os
import signal
import sys
import time
import traceback

from swift.common import utils
from swift.common.daemon import run_daemon

DAEMONS = {
    "account-auditor": "AccountAuditor",
    "account-reaper": "AccountReaper",
    "account-replicator": "AccountReplicator",
    "container-auditor": "ContainerAuditor",
    "container-replicator": "ContainerReplicator",
    "container-updater": "ContainerUpdater",
    "object-auditor": "ObjectAuditor",
    "object-expirer": "ObjectExpirer",
    "object-replicator": "ObjectReplicator",
    "object-updater": "ObjectUpdater",
}
# It writes no record of its passes.
SILENT = {"account-reaper"}
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
MARK = "/tmp/working"


def record(name):
    """Returns the file in which a daemon writes about its passes: `recon_cache_path` in the configuration."""
    return f"/var/cache/swift/{name}/{name.split('-')[0]}.recon"


def load(name):
    kind, part = name.split("-")
    return getattr(importlib.import_module(f"swift.{'obj' if kind == 'object' else kind}.{part}"), DAEMONS[name])


def start(name, daemon, conf, ready):
    """Starts a daemon, which writes a byte to `ready` and closes it when it has been made. Returns its process id."""
    child = os.fork()
    if child:
        return child
    # Swift ends its own workers by their group.
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def make(section):
        made = daemon(section)
        os.write(ready, b".")
        os.close(ready)
        return made

    code = 1
    try:
        run_daemon(make, conf, section_name=name, verbose=True)
    except SystemExit as end:
        # The object auditor's own children end so, too.
        code = 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def stop(children):
    for child in children:
        try:
            os.killpg(child, signal.SIGTERM)
        except ProcessLookupError:
            pass


def late(names, since, limit):
    """Returns the daemons which have not finished a pass in time."""
    overdue = []
    for name in set(names) - SILENT:
        try:
            last = os.stat(record(name)).st_mtime
        except FileNotFoundError:
            last = since
        if time.time() - last > limit:
            overdue.append(name)
    return sorted(overdue)


def main(conf, limit, names):
    daemons = {name: load(name) for name in names}
    for name in names:
        os.makedirs(os.path.dirname(record(name)), exist_ok=True)
    utils.monkey_patch()
    # What is loaded so far is never looked at again, so that the children keep sharing it.
    gc.collect()
    gc.freeze()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    since = time.time()
    read, ready = os.pipe()
    children = {start(name, daemon, conf, ready): name for name, daemon in daemons.items()}
    os.close(ready)
    # It ends when all have been made or have ended; those that ended are seen below.
    with os.fdopen(read, "rb") as made:
        working = len(made.read()) == len(children)
    while True:
        if working:
            open(MARK, "w").close()
        got = signal.sigtimedwait(SIGNALS, 60)
        if got and got.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                continue
            print(f"{children.get(ended, ended)} ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr)
        elif got:
            stop(children)
            return 0
        elif overdue := late(names, since, limit):
            print(f"no pass in {limit:.0f} s: {', '.join(overdue)}", file=sys.stderr)
        else:
            continue
        stop(children)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3].split()))
