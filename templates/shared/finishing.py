# Told to end, a service of the message bus finishes what it has taken from its queues, for half a minute at most. Some end at once (one
# of 500 calls to Neutron's was lost in each such end, measured; an agent that starts waits a minute for such an answer), and Nova
# from 2026.2 on ends the threads that a request needs before it waits for it.
import functools  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

from oslo_messaging.rpc.server import RPCServer  # noqa: E402

END = 30
# Messages that each server has taken and not yet dealt with.
taken, lock = {}, threading.Lock()


def count(server, by):
    with lock:
        taken[server] = taken.get(server, 0) + by


def take(server, message):
    count(server, 1)
    try:
        real_take(server, message)
    except BaseException:
        count(server, -1)
        raise


def process(server, message):
    try:
        real_process(server, message)
    finally:
        count(server, -1)


# The class finds this method by a mark on it, which `wraps` takes over.
@functools.wraps(RPCServer.stop)
def finish(server, *arguments, **options):
    real_stop(server, *arguments, **options)
    # Now that nothing comes any more.
    ends = time.monotonic() + END
    while taken.get(server) and time.monotonic() < ends:
        time.sleep(0.05)


real_stop, real_take, real_process = RPCServer.stop, RPCServer._on_incoming, RPCServer._process_incoming
RPCServer.stop, RPCServer._on_incoming, RPCServer._process_incoming = finish, take, process
