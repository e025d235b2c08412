"""Runs a service of the message bus, and answers over HTTP whether its messages are served.

    answering.py ADDRESS PORT MODULE [ARGUMENTS...]      MODULE has main(), as console scripts name it

Each RPC server that the service starts is called by the service itself, through the broker and back: that proves the
connection in both directions, the queue, and the loop that serves requests, which neither a living process nor an open
connection does. GET answers 200 while every server answered its last call and within the last minute, else 503. Needs
`rpc_ping_enabled`. There is nothing to answer before the first RPC server runs, which services start last.

Told to end, a service first finishes what it has taken from its queues, and nova-compute the servers that it builds: Nova would
set those to ERROR for good. What is asked of nova-compute while it is away waits in its queue; started again, Nova takes those servers, too, for
ones whose build was cut off, and sets them to ERROR. Where it has ended with nothing unfinished, nothing was.
"""

import importlib
import sys

address, port, module = sys.argv[1:4]
del sys.argv[1:4]
# First of all: it may replace Python's threads and sockets (eventlet), and what is imported before keeps the old ones.
program = importlib.import_module(module)

import http.server  # noqa: E402
import os  # noqa: E402

import oslo_messaging  # noqa: E402
from mastic_ending import leave  # noqa: E402

{% include "shared/finishing.py" %}


EVERY, STALE = 15, 60
# A build waits for the switch's agent, which may be starting as well: on two busy cores it takes three quarters of a minute.
BUILDS = 100
# When each server answered last; 0 after a failure.
answered = {}
# Nova's semaphore of builds and what it had when nothing was built, by server.
builds = {}
# There while nova-compute has ended with nothing unfinished: from its end to its next start.
FINISHED = "/var/lib/nova/finished"


def watch(server, transport, target):
    client = oslo_messaging.get_rpc_client(
        transport, oslo_messaging.Target(exchange=target.exchange, topic=target.topic, server=target.server), timeout=10)
    while server in answered:
        try:
            client.call({}, "oslo_rpc_server_ping")
            answered[server] = time.monotonic()
            time.sleep(EVERY)
        except Exception as error:  # whatever it is, the check must say so, and the next call may work
            if answered.get(server):
                print(f"{target.topic} does not answer its own call: {error!r}", file=sys.stderr)
                answered[server] = 0
            time.sleep(1)


class Check(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        late = [last for last in answered.values() if time.monotonic() - last > STALE]
        self.send_response(503 if late else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Listener(http.server.ThreadingHTTPServer):
    # Each worker process has its own.
    allow_reuse_port = True
    daemon_threads = True


@functools.wraps(RPCServer.start)
def start(server, *arguments, **options):
    for manager in server.dispatcher.endpoints:
        semaphore = getattr(manager, "_build_semaphore", None)
        if hasattr(semaphore, "_value"):
            builds.setdefault(server, (semaphore, semaphore._value))
    result = real_start(server, *arguments, **options)
    if server not in answered:
        first, answered[server] = not answered, 0
        threading.Thread(target=watch, args=(server, server.transport, server._target), daemon=True).start()
        if first:
            threading.Thread(target=Listener((address, int(port)), Check).serve_forever, daemon=True).start()
    return result


@functools.wraps(RPCServer.stop)
def stop(server, *arguments, **options):
    # Before it stops to listen: what a build waits for comes as a message.
    semaphore, idle = builds.pop(server, (None, 0))

    def building():
        return semaphore and semaphore._value < idle

    ends = time.monotonic() + (BUILDS if semaphore else END)
    while building() and time.monotonic() < ends:
        time.sleep(0.1)
    answered.pop(server, None)
    real_stop(server, *arguments, **options)
    while (taken.get(server) or building()) and time.monotonic() < ends:
        time.sleep(0.05)
    if semaphore and not taken.get(server) and not building():
        open(FINISHED, "w").close()


real_start = RPCServer.start
RPCServer.start, RPCServer.stop = start, stop

{% include "shared/stand-by.py" %}

stand_by()
if module == "nova.cmd.compute" and os.path.exists(FINISHED):
    os.unlink(FINISHED)
    from nova.compute.manager import ComputeManager

    ComputeManager._error_out_instances_whose_build_was_interrupted = lambda *_, **__: None
leave(program.main)
