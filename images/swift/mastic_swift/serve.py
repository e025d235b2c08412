"""Runs one of Swift's servers: `python3 -m mastic_swift.serve KIND CONF`, KIND being proxy, account, container or object.

HUP is its graceful stop: no new connections, and an end when the last request is done. Swift's own start script leaves its
workers behind at that moment; in a container they would end with it.
"""

import importlib
import os
import sys

from swift.common.wsgi import run_wsgi


def main(kind, conf):
    module = importlib.import_module("swift.obj.server" if kind == "object" else f"swift.{kind}.server")
    hooks = {}
    if hasattr(module, "global_conf_callback"):
        hooks["global_conf_callback"] = module.global_conf_callback
    status = run_wsgi(conf, f"{kind}-server", verbose=True, **hooks)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
