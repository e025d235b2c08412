"""Brings Neutron's schema to this release.

`expand` makes a new database whole; of one that is in use it only adds, so that the old release can still serve.
`contract` (after the upgrade was committed) drops what only the old release needed. Idempotent, and begins anew where a
first run was killed.
"""

import os
import sys

from oslo_config import cfg
import sqlalchemy

from neutron.db.migration import cli

CONFIG = "/etc/neutron/neutron.conf"


def engine():
    """By the same option as Neutron's."""
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("connection", secret=True), group="database")
    conf(["--config-file", CONFIG])
    return sqlalchemy.create_engine(conf.database.connection)


def never_served(engine):
    """Whatever anybody makes has a row in `standardattributes`; agents, which come first of all, have their own."""
    tables = sqlalchemy.inspect(engine).get_table_names()
    with engine.connect() as connection:
        return not any(
            table in tables and connection.scalar(sqlalchemy.text(f"SELECT EXISTS (SELECT 1 FROM `{table}`)"))
            for table in ("standardattributes", "agents")
        )


def clear(engine):
    """MariaDB cannot take a half-made schema back, nor can the migrations go on from within one: begin anew."""
    tables = sqlalchemy.inspect(engine).get_table_names()
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in tables:
            connection.execute(sqlalchemy.text(f"DROP TABLE `{table}`"))
        connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 1"))


arguments = [f"--{sys.argv[1]}"]
if sys.argv[1] == "expand":
    database = engine()
    if never_served(database):
        clear(database)
        # Nothing serves from it yet, so that nobody needs what a contraction drops.
        arguments = ["heads"]
sys.argv = ["neutron-db-manage", "--config-file", CONFIG, "upgrade", *arguments]
code = cli.main()
print("schema: " + " ".join(arguments))
# All is committed; taking the interpreter apart would cost most of a second.
sys.stdout.flush()
os._exit(int(bool(code)))
