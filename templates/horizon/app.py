"""Horizon, and /healthcheck for the proxy: a page of Horizon's twice a second would cost more than its users do."""

import os

from openstack_dashboard.wsgi import application as horizon


def application(environ, start_response):
    if environ["PATH_INFO"] != "/healthcheck":
        return horizon(environ, start_response)
    # `touch` this in the container: the proxy takes it out, requests under way go on.
    status = "503 Service Unavailable" if os.path.exists("/tmp/disabled") else "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
