"""Neutron's API with OVN for uWSGI, which loads it once and then forks its workers.

Each worker must have its own connections to OVN's databases and its own place among those that share OVN's events. Neutron makes
both when the application is loaded; here that waits until there is a worker.
"""

import atexit
import os
import threading
import traceback

import uwsgi
from neutron_lib.callbacks import events, registry, resources

publish = registry.publish
held = []


def hold(resource, event, trigger, payload=None):
    if (resource, event) == (resources.PROCESS, events.AFTER_INIT):
        held.append(trigger)
    else:
        publish(resource, event, trigger, payload=payload)


registry.publish = hold
from neutron.wsgi.api import application  # noqa: E402, F401

registry.publish = publish


def start_worker():
    try:
        for trigger in held:
            publish(resources.PROCESS, events.AFTER_INIT, trigger)
    except BaseException:
        # Without OVN it would take requests and fail them: uwsgi starts another.
        traceback.print_exc()
        os._exit(1)


uwsgi.post_fork_hook = start_worker


def end_worker():
    """Gives the worker's place up at once, else events would wait for it for two minutes (uwsgi.ini: no teardown). Where the database
    has gone before, as at the end of a cloud, Neutron would ask it for longer than a container is given to end."""
    thread = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
    thread.start()
    thread.join(5)


uwsgi.atexit = end_worker
