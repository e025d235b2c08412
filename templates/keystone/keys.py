"""Makes the first keys (setup), and rotates those of tokens when the newest is old enough (rotate SECONDS).

Without Keystone's own modules: they take seconds to load, and this looks once an hour. The rotation itself is Keystone's.
"""

import base64
import os
import sys
import time

TOKENS = "/etc/keystone/fernet-keys"
CREDENTIALS = "/etc/keystone/credential-keys"


def make(directory, name):
    """Puts a whole key on the disk under its name, or nothing; a key that is there stays."""
    path = os.path.join(directory, name)
    if os.path.exists(path):
        return
    temporary = path + ".new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(base64.urlsafe_b64encode(os.urandom(32)))
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    directory = os.open(directory, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def keys(directory):
    return sorted(int(name) for name in os.listdir(directory) if name.isdigit())


def setup():
    for directory in (TOKENS, CREDENTIALS):
        # 1 encrypts, 0 is the next. After a rotation the numbers are others: then there is nothing to do.
        if max(keys(directory), default=0) == 0:
            make(directory, "1")
        make(directory, "0")
        print(f"{directory} has keys {keys(directory)}")


def rotate(seconds):
    newest = os.path.join(TOKENS, str(keys(TOKENS)[-1]))
    age = time.time() - os.stat(newest).st_mtime
    if age < seconds:
        print(f"the newest key is {age:.0f} s old; it is replaced after {seconds} s")
        return
    os.execvp("keystone-manage", ["keystone-manage", "fernet_rotate"])


if sys.argv[1] == "setup":
    setup()
else:
    rotate(int(sys.argv[2]))
