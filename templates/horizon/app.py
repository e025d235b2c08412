"""Horizon, and /healthcheck for the proxy: a page of Horizon's twice a second would cost more than its users do."""

import contextlib
import os
from wsgiref.util import setup_testing_defaults

from openstack_dashboard.wsgi import application as horizon


def application(environ, start_response):
    if environ["PATH_INFO"] != "/healthcheck":
        return horizon(environ, start_response)
    # `touch` this in the container: the proxy takes it out, requests under way go on.
    status = "503 Service Unavailable" if os.path.exists("/tmp/disabled") else "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


# A process's first page takes most of a second of processor time. Here once, before the workers are forked; in each of them it
# kept everybody waiting for seconds where the machine was busy (measured). Django closes its connections at a request's end.
first = {"PATH_INFO": "/auth/login/", "HTTP_HOST": "{{ host.address }}"}
setup_testing_defaults(first)
with contextlib.closing(horizon(first, lambda *_: None)) as page:
    for _ in page:
        pass
