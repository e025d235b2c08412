"""Brings Keystone's schema to this release and makes the administrator, the roles and the first project.

`expand` makes a new database whole; of one that is in use it only adds, so that the old release can still serve.
`contract` (after the upgrade was committed) drops what only the old release needed. Idempotent. The password comes from
a file that only Keystone's user can read: a command line or an environment could be read by others.
"""

import os
import sys

from keystone.cmd import bootstrap
from keystone.common.sql import upgrades
import keystone.server


def expand():
    if upgrades.get_db_version() is None:
        # Nothing serves from it yet, so that nobody needs what a contraction drops.
        upgrades.offline_sync_database_to_version()
    else:
        upgrades.expand_schema()
    print("schema: " + ", ".join(f"{branch} {head}" for branch, head in sorted(upgrades.get_current_heads().items())))


def accounts():
    with open("/etc/keystone/admin-password", encoding="utf-8") as file:
        password = file.read().strip()
    first = bootstrap.Bootstrapper()
    first.admin_username = "admin"
    first.admin_password = password
    first.project_name = "admin"
    first.admin_role_name = "admin"
    first.immutable_roles = True
    first.bootstrap()
    print("accounts: admin, its project and the roles are there")


# Keystone would take the word for an option of its own.
phase = sys.argv.pop()
keystone.server.configure(config_files=["/etc/keystone/keystone.conf"])
if phase == "expand":
    expand()
    accounts()
else:
    upgrades.contract_schema()
# All is committed; taking the interpreter apart would cost most of a second.
sys.stdout.flush()
os._exit(0)
