"""All that Neutron does by itself where OVN makes the networks, in one process.

It mends what differs between its database and OVN's; and it clears away what broken requests left, for which neutron-periodic-workers
would be four processes more, none of which has a connection to show that it works.
"""

import importlib.metadata
import sys

(command,) = importlib.metadata.entry_points(group="console_scripts", name="neutron-ovn-maintenance-worker")
# First of all: in older releases it makes all that follows cooperative.
main = command.load()
from neutron import service  # noqa: E402
from neutron.plugins.ml2.drivers.ovn.mech_driver.ovsdb import worker  # noqa: E402
from neutron.worker import PeriodicWorker  # noqa: E402

start = worker.MaintenanceWorker.start


def start_all(self, **named):
    start(self, **named)
    for other in service._get_plugins_workers():
        if isinstance(other, PeriodicWorker):
            other.set_proctitle = "off"
            other.start()


worker.MaintenanceWorker.start = start_all
sys.argv[0] = command.name
sys.exit(main())
