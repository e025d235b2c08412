"""Runs an agent of Neutron, with a sign of life: /tmp/alive is there while its last report was taken.

Reports go to neutron-rpc-server through the message bus. A process by itself proves nothing: an agent lives on without either.
"""

import contextlib
import importlib.metadata
import os
import sys

DATAPATH = "/run/openvswitch/datapath"

if os.path.exists(DATAPATH):
    with open(DATAPATH, encoding="ascii") as file:
        if file.read().strip() == "netdev":
            # Ports of the switch itself are tap devices then, which become useless when it restarts: pairs of devices do not.
            os.environ.update(OS_OVS__DATAPATH_TYPE="netdev", OS_DEFAULT__OVS_USE_VETH="true")

name = sys.argv.pop(1)
(command,) = importlib.metadata.entry_points(group="console_scripts", name=name)
# First of all: in older releases it makes all that follows cooperative.
main = command.load()
from neutron.agent import rpc  # noqa: E402

report_state = rpc.PluginReportStateAPI.report_state


def report(self, *arguments, **named):
    try:
        answer = report_state(self, *arguments, **named)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/tmp/alive")
        raise
    open("/tmp/alive", "w").close()
    return answer


rpc.PluginReportStateAPI.report_state = report
sys.argv[0] = name
sys.exit(main())
