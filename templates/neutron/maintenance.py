"""All that Neutron does by itself where OVN makes the networks, in one process that ends at once when it is told to.

It mends what differs between its database and OVN's, and clears away what broken requests left. Upstream's programs for that,
neutron-ovn-maintenance-worker and neutron-periodic-workers, are six processes, four of which have no connection to show that they work.
"""

import importlib.metadata
import sys
import threading

(command,) = importlib.metadata.entry_points(group="console_scripts", name="neutron-ovn-maintenance-worker")
# First of all: in older releases it makes all that follows cooperative.
main = command.load()
from mastic_ending import leave  # noqa: E402
from neutron import service  # noqa: E402


class Launcher:
    @staticmethod
    def wait():
        threading.Event().wait()


def start_workers():
    for worker in service._get_plugins_workers():
        worker.set_proctitle = "off"
        worker.start()
    return Launcher


service.start_ovn_maintenance_worker = start_workers

{% include "shared/stand-by.py" %}

sys.argv[0] = command.name
stand_by()
leave(main)
