"""Runs cinder-scheduler, -volume or -backup with a sign of life.

It writes /tmp/alive with each report to the database (every 10 s) that went well. Cinder reports only while its driver is up:
a process by itself proves nothing, since without a driver it lives on.
"""

import importlib
import sys

name = sys.argv.pop(1)
# First of all: it makes all that follows cooperative.
command = importlib.import_module(f"cinder.cmd.{name}")
from cinder import service  # noqa: E402
from mastic_ending import leave  # noqa: E402

start, report_state = service.Service.start, service.Service.report_state


def report(self):
    report_state(self)
    if self.manager.is_working() and not self.model_disconnected:
        open("/tmp/alive", "w").close()


def started(self):
    start(self)
    # Not only after the first interval.
    report(self)


service.Service.start, service.Service.report_state = started, report
if name == "backup":
    from cinder import objects

    # The modules of its manager are written for this to have been done.
    objects.register_all()
    import mastic_nfs

    mastic_nfs.mend_backup()

{% include "shared/finishing.py" %}

{% include "shared/stand-by.py" %}

sys.argv[0] = f"cinder-{name}"
stand_by()
leave(command.main)
