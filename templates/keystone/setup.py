"""Brings Keystone's schema to this release and makes the administrator, the roles, the first project and its own entry in the
catalogue: what would be a dozen requests to the API costs next to nothing here.

`expand` makes a new database whole; of one that is in use it only adds, so that the old release can still serve.
`contract` (after the upgrade was committed) drops what only the old release needed. Idempotent. The password comes from
a file that only Keystone's user can read: a command line or an environment could be read by others.
"""

import logging
import os
import sys
import uuid

import alembic.util
import sqlalchemy

from keystone import exception
from keystone.cmd import bootstrap
from keystone.common import sql
from keystone.common.sql import upgrades
import keystone.conf
import keystone.server


def never_served(engine):
    """The administrator is made last: without any user nobody has ever used this database."""
    if "user" not in sqlalchemy.inspect(engine).get_table_names():
        return True
    with engine.connect() as connection:
        return connection.scalar(sqlalchemy.text("SELECT COUNT(*) FROM `user`")) == 0


def clear(engine):
    """MariaDB cannot take a half-made schema back, nor can the migrations go on from within one: begin anew."""
    tables = sqlalchemy.inspect(engine).get_table_names()
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in tables:
            connection.execute(sqlalchemy.text(f"DROP TABLE `{table}`"))
        connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 1"))


def expand():
    with sql.session_for_read() as session:
        engine = session.get_bind()
    if never_served(engine):
        clear(engine)
        # What a killed run left in the cache is of a database that is no more.
        keystone.conf.CONF.set_override("enabled", False, group="cache")
        # Nothing serves from it yet, so that nobody needs what a contraction drops.
        upgrades.offline_sync_database_to_version()
    else:
        try:
            upgrades.expand_schema()
        except alembic.util.CommandError as error:
            # After a way back the schema is a newer release's, which this one only reads: there is nothing to add.
            if "Can't locate revision" not in str(error):
                raise
            print("the schema is of a newer release")
            return
    print("schema: " + ", ".join(f"{branch} {head}" for branch, head in sorted(upgrades.get_current_heads().items())))


def accounts(region, public, internal):
    with open("/etc/keystone/admin-password", encoding="utf-8") as file:
        password = file.read().strip()
    first = bootstrap.Bootstrapper()
    first.admin_username = "admin"
    first.admin_password = password
    first.project_name = "admin"
    first.admin_role_name = "admin"
    first.immutable_roles = True
    first.region_id = region
    first.service_name = "keystone"
    first.public_url = public
    first.internal_url = first.admin_url = internal
    first.bootstrap()
    bootstrap.PROVIDERS.catalog_api.update_service(first.service_id, {"description": "OpenStack Identity"})
    # That of the services' own users.
    ref = {"id": uuid.uuid4().hex, "name": "service", "domain_id": "default", "enabled": True}
    try:
        bootstrap.PROVIDERS.resource_api.create_project(ref["id"], ref)
    except exception.Conflict:
        pass
    print("accounts: admin, the first projects, the roles and the catalogue's first entry are there")


# Keystone would take the words for options of its own.
phase, *arguments = sys.argv[1:]
del sys.argv[1:]
keystone.server.configure(config_files=["/etc/keystone/keystone.conf"])
# Reads every option: a value of the wrong kind fails here, while the old API still serves, not in the first request to need it.
keystone.conf.CONF.log_opt_values(logging.getLogger("options"), logging.NOTSET)
if phase == "expand":
    expand()
    accounts(*arguments)
else:
    upgrades.contract_schema()
# All is committed; taking the interpreter apart would cost most of a second.
sys.stdout.flush()
os._exit(0)
