"""The {% if container.name == "nova-metadata" %}metadata {% endif %}API for uWSGI, which loads it once and then forks its workers."""

import logging

from nova import utils
from nova.wsgi.{% if container.name == "nova-metadata" %}metadata{% else %}osapi_compute{% endif %} import application  # noqa: F401

# Threads do not live on in a fork: a worker would wait forever for those that loading has started. Without a pool each worker
# makes its own. (Releases on eventlet have none.)
for destroy in ("destroy_scatter_gather_executor", "destroy_default_executor"):
    getattr(utils, destroy, lambda: None)()
# The proxy logs each request, and asks for / twice a second.
logging.getLogger("nova.api.openstack.requestlog").setLevel(logging.WARNING)
