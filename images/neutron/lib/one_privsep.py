"""One privileged daemon for an agent, instead of one for each of Neutron's six contexts: each is a hundred megabytes of Python, and a second
of processor time to start.

Who imports it, before or after what uses the contexts, has the first context stand for the others. Run, it is that context's daemon, and
serves the functions of all (neutron-root starts it).
"""

from neutron import privileged
from oslo_privsep.priv_context import PrivContext

default = privileged.default
others = {name: value for name, value in vars(privileged).items() if isinstance(value, PrivContext) and value is not default}


class Shared(PrivContext):
    """A context whose functions are called through the first one's channel. Functions hold their context from when they were defined."""

    @property
    def channel(self):
        return default.channel

    def start(self, *method):
        default.start(*method)

    def stop(self):
        default.stop()


if __name__ == "__main__":
    # A daemon serves the functions of its own context only: here they are all defined in the first one.
    for name in others:
        setattr(privileged, name, default)
    from mastic_ending import leave
    from oslo_privsep.daemon import helper_main

    leave(helper_main)

for context in others.values():
    context.__class__ = Shared
