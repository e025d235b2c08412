"""The {% if container.name == "nova-metadata" %}metadata {% endif %}API for uWSGI, which loads it once and then forks its workers."""

# First of all: until 2025.2 it replaces Python's threads and sockets, and what was imported before keeps the old ones.
from nova.wsgi.{% if container.name == "nova-metadata" %}metadata{% else %}osapi_compute{% endif %} import application  # noqa: F401

import logging  # noqa: E402

{% if release >= "2026.2" -%}
from nova import thread_pool_factory  # noqa: E402

# Threads do not live on in a fork: a worker would wait forever for those that loading has started. Without a pool each worker
# makes its own.
thread_pool_factory.reset_all_executors()
{% else -%}
from nova import utils  # noqa: E402

# Threads do not live on in a fork: a worker would wait forever for those that loading has started. Without a pool each worker
# makes its own. (Releases on eventlet have none.)
for destroy in ("destroy_scatter_gather_executor", "destroy_default_executor"):
    getattr(utils, destroy, lambda: None)()
{% endif -%}
# The proxy logs each request, and asks for / twice a second.
logging.getLogger("nova.api.openstack.requestlog").setLevel(logging.WARNING)
