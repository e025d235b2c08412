"""Uploads an image and an object, a piece each second: uploads.py SECONDS, with the environment of openrc.

Says "uploading" once both are under way. Ends with 0 where both were taken whole, on one connection each and without a second try, and
come back as they were sent.
"""

import hashlib
import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse

PIECE = 256 * 1024
seconds = int(sys.argv[1])
context = ssl.create_default_context(cafile=os.environ["OS_CACERT"])
under_way = threading.Barrier(3)
failed = []


def ask(url, method, body=None, token=None, **headers):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=120)
    if token:
        headers["X-Auth-Token"] = token
    connection.request(method, parts.path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {url}: {answer.status} {said[:200]}")
    return answer, said


def patiently(url, method, token):
    """For what comes after an upload: a store, of which there is one, is replaced once it has taken that, and is asked again."""
    ends = time.monotonic() + 60
    while True:
        try:
            return ask(url, method, None, token)
        except (OSError, RuntimeError, http.client.HTTPException):
            if time.monotonic() > ends:
                raise
        time.sleep(0.5)


def pieces():
    for number in range(seconds):
        if number == 1:
            under_way.wait()
        yield bytes([number % 251]) * PIECE
        time.sleep(1)


def take(name, upload):
    try:
        began = time.monotonic()
        came_back = upload()
        whole = hashlib.md5(b"".join(bytes([n % 251]) * PIECE for n in range(seconds))).hexdigest()
        if came_back != whole:
            raise RuntimeError(f"{came_back} is not {whole}")
        print(f"{name}: {seconds * PIECE} bytes in {time.monotonic() - began:.1f} s, as they were sent", flush=True)
    except Exception as error:
        failed.append(f"{name}: {error}")
        under_way.abort()


user = {
    "name": os.environ["OS_USERNAME"], "password": os.environ["OS_PASSWORD"], "domain": {"id": os.environ["OS_USER_DOMAIN_ID"]},
}
project = {"name": os.environ["OS_PROJECT_NAME"], "domain": {"id": os.environ["OS_PROJECT_DOMAIN_ID"]}}
identity = {"methods": ["password"], "password": {"user": user}}
answer, said = ask(
    os.environ["OS_AUTH_URL"].rstrip("/") + "/auth/tokens", "POST",
    json.dumps({"auth": {"identity": identity, "scope": {"project": project}}}), **{"Content-Type": "application/json"})
token = answer.headers["X-Subject-Token"]
urls = {
    entry["type"]: endpoint["url"]
    for entry in json.loads(said)["token"]["catalog"] for endpoint in entry["endpoints"] if endpoint["interface"] == "public"
}
length = {"Content-Length": str(seconds * PIECE), "Content-Type": "application/octet-stream"}


def image():
    made = {"name": "slow", "disk_format": "raw", "container_format": "bare"}
    images = urls["image"].rstrip("/") + "/v2/images"
    _, said = ask(images, "POST", json.dumps(made), token, **{"Content-Type": "application/json"})
    url = f"{images}/{json.loads(said)['id']}"
    try:
        ask(url + "/file", "PUT", pieces(), token, **length)
        return hashlib.md5(patiently(url + "/file", "GET", token)[1]).hexdigest()
    finally:
        patiently(url, "DELETE", token)


def object_():
    container = urls["object-store"].rstrip("/") + "/slow"
    ask(container, "PUT", None, token)
    try:
        ask(container + "/one", "PUT", pieces(), token, **length)
        return hashlib.md5(patiently(container + "/one", "GET", token)[1]).hexdigest()
    finally:
        patiently(container + "/one", "DELETE", token)
        patiently(container, "DELETE", token)


threads = [threading.Thread(target=take, args=it) for it in (("image", image), ("object", object_))]
for thread in threads:
    thread.start()
try:
    under_way.wait()
    print("uploading", flush=True)
except threading.BrokenBarrierError:
    pass
for thread in threads:
    thread.join()
sys.exit("\n".join(failed) or 0)
