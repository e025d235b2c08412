"""Runs heat-engine with a sign of life: alive.py SECONDS.

/tmp/alive is written while the engine answers: at each interval it sends itself a request over the message bus, which goes
the whole way, from the publisher to the queue, the listener, a thread and back. A process by itself proves none of that.
"""

import contextlib
import os
import sys
import threading
import time

# First of all: in releases with eventlet it makes all that follows cooperative.
from heat.cmd import engine

from mastic_ending import leave
from oslo_config import cfg

from heat.common import context
from heat.common import messaging
from heat.engine.service import EngineService
from heat.rpc import api

MARK = "/tmp/alive"


def look(interval):
    client = None
    while True:
        try:
            if client is None:
                client = messaging.get_rpc_client(topic=api.ENGINE_TOPIC, server=cfg.CONF.host).prepare(timeout=10)
            client.call(context.get_admin_context(), "oslo_rpc_server_ping")
        except Exception as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(MARK)
                print(f"heat-engine does not answer any more: {error!r}", file=sys.stderr)
            # Until it has started this is the rule.
            time.sleep(0.5)
        else:
            open(MARK, "w").close()
            time.sleep(interval)


def started(service):
    """Watched from within the worker: a thread beside the main process would be there when that forks, and what it held at that moment
    nobody would ever let go in the worker (a start in fifteen hung)."""
    start(service)
    threading.Thread(target=look, args=(interval,), daemon=True).start()


{% include "shared/finishing.py" %}

{% include "shared/stand-by.py" %}


# The engine reads the rest of the command line.
interval = int(sys.argv.pop(1))
start, EngineService.start = EngineService.start, started
stand_by()
leave(engine.main)
