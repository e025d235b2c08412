"""Runs neutron-ovn-agent as one process that ends at once when it is told to.

Upstream's launcher forks it from a parent of seventy megabytes, which has nothing to do but to wait for a thread that never ends.
"""

import sys
import threading

sys.path.append("/usr/local/lib/mastic")
import one_privsep  # noqa: E402, F401
from mastic_ending import leave  # noqa: E402
from neutron.agent.ovn import ovn_neutron_agent as program  # noqa: E402


class Launcher:
    @staticmethod
    def wait():
        threading.Event().wait()


def launch(conf, agent, **named):
    agent.start()
    return Launcher


if hasattr(program, "service"):
    # 2025.1 has no launcher either.
    program.service.launch = launch

{% include "shared/stand-by.py" %}

sys.argv[0] = "neutron-ovn-agent"
stand_by()
leave(program.main)
