"""Runs an agent of Neutron, with a sign of life: /tmp/alive is there while its last report was taken.

Reports go to neutron-rpc-server through the message bus. A process by itself proves nothing: an agent lives on without either.
"""

import contextlib
import importlib.metadata
import os
import sys
import threading
import traceback
import types

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
sys.path.append("/usr/local/lib/mastic")
import one_privsep  # noqa: E402, F401
from mastic_ending import leave  # noqa: E402
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

if name == "neutron-openvswitch-agent":
    from neutron.plugins.ml2.drivers.openvswitch.agent import ovs_neutron_agent

    loop = ovs_neutron_agent.main

    class Request(threading.Thread):
        """One that a restarted switch never answers has timed out when it is joined: the agent's loop would wait for its
        thread for ever, and no flow would come back (measured)."""

        def __init__(self, **named):
            super().__init__(daemon=True, **named)

        def join(self, timeout=0):
            super().join(timeout)

    def loop_and_end(*arguments, **named):
        """When its loop has ended, or died, other threads would keep the process (measured: forever)."""
        # Not before: it is os-ken's start that says which kind of threads there is.
        from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import ofswitch
        from os_ken.lib import hub

        if hub.TaskExit is Exception:
            # With plain threads any failure of a handler would end its loop, in silence: after a restart of the switch the agent
            # never heard of it again (measured).
            hub.TaskExit = SystemExit
        if hasattr(ofswitch, "threading"):
            ofswitch.threading = types.SimpleNamespace(Thread=Request, Timer=threading.Timer)
        try:
            loop(*arguments, **named)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    ovs_neutron_agent.main = loop_and_end

if name == "neutron-l3-agent":
    from neutron.agent.l3.router_info import RouterInfo

    gateway = RouterInfo._process_external_gateway

    def gateway_and_scopes(self, *arguments):
        """A started agent writes a router's rules in two steps. The second brings what marks packets back, and what drops the unmarked,
        table after table, the dropping one first: what begins in between is lost (measured: a ping in every second start, at 50 a
        second). With the marks in the first step already, neither step changes anything."""
        gateway(self, *arguments)
        self.process_ports_address_scope_iptables()
        self.process_floating_ip_address_scope_rules()

    RouterInfo._process_external_gateway = gateway_and_scopes


{% include "shared/stand-by.py" %}

sys.argv[0] = name
stand_by()
leave(main)
