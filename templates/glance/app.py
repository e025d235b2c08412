"""Glance's WSGI application, safe with several threads.

oslo.policy loads rules at the first request without a lock: another thread would see half of them and refuse. Here they
are loaded before the first request, and before the workers are forked.
"""

import gc

from glance.api import policy
from glance.wsgi.api import application  # noqa: F401 what uwsgi serves

enforcers = [thing for thing in gc.get_objects() if isinstance(thing, policy.Enforcer)]
assert enforcers, "Glance keeps its policy elsewhere now: this file has to follow"
for enforcer in enforcers:
    enforcer.load_rules()
