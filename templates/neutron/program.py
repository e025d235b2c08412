"""Runs a program of Neutron that finishes what it has begun, and can stand by: program.py NAME [ARGUMENTS...]"""

import importlib.metadata
import sys

name = sys.argv.pop(1)
(command,) = importlib.metadata.entry_points(group="console_scripts", name=name)
# First of all: in older releases it makes all that follows cooperative.
main = command.load()
from mastic_ending import leave  # noqa: E402

{% include "shared/finishing.py" %}

{% include "shared/stand-by.py" %}

sys.argv[0] = name
stand_by()
leave(main)
