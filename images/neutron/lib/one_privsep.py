"""One privileged daemon for an agent, instead of one for each of Neutron's six contexts: each is a hundred megabytes of Python.

Who imports it has the first context stand for the others, whose capabilities it has besides its own. Run, it is that daemon's program
(neutron-root starts it).
"""

import sys

from neutron import privileged
from oslo_privsep.priv_context import PrivContext

for name, value in list(vars(privileged).items()):
    if isinstance(value, PrivContext):
        setattr(privileged, name, privileged.default)

if __name__ == "__main__":
    from oslo_privsep.daemon import helper_main

    sys.exit(helper_main())
