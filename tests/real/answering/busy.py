"""A service of the message bus without a broker, told to end with four messages in its hands and one thread to deal with them."""

import time
import urllib.request

import oslo_messaging
from oslo_config import cfg

done = []


class Endpoint:
    def work(self, _):
        time.sleep(0.3)
        done.append("one")


def main(address="http://127.0.0.1:8080/"):
    cfg.CONF(["--config-file", "/work/busy.conf"])
    transport = oslo_messaging.get_rpc_transport(cfg.CONF)
    target = oslo_messaging.Target(topic="busy", server="here")
    server = oslo_messaging.get_rpc_server(transport, target, [Endpoint()], executor="threading")
    server.start()
    client = oslo_messaging.get_rpc_client(transport, target)
    client.call({}, "work")
    if address:
        print("asked:", urllib.request.urlopen(address, timeout=5).status)
    for _ in range(4):
        client.cast({}, "work")
    # With all four in its hands.
    time.sleep(0.2)
    server.stop()
    print("done:", len(done))
