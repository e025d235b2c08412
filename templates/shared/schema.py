"""Runs commands that change a schema, so that they may be killed at any moment and run again.

    schema.py CONFIG SECTION [--new COMMAND]... [--used COMMAND]...

SECTION of CONFIG has the `connection`. The commands of --new make a database that nobody has served from; those of
--used bring one that is in use forward (without any, the former do). All run in this process: a start of Python with
OpenStack's modules costs seconds.

MariaDB cannot take half a migration back, and no migration can go on from within another. So an empty database is
marked first, and the mark goes when all is done: a marked one has never been served from, and begins anew. Whatever else
has tables is somebody's, and is never emptied.
"""

import argparse
import configparser
import os
import runpy
import shutil
import sys
import urllib.parse

import pymysql

MARK = "mastic_unfinished"


def connect(config, section):
    """The service's own account, on the one database it may use."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    with open(config, encoding="utf-8") as file:
        parser.read_file(file)
    url = urllib.parse.urlsplit(parser[section]["connection"])
    return pymysql.connect(host=url.hostname, port=url.port, user=url.username, password=urllib.parse.unquote(url.password),
                           database=url.path[1:], autocommit=True)


def is_new(cursor):
    """Whether nobody ever served from it; then it is empty afterwards but for the mark."""
    cursor.execute("SHOW TABLES")
    tables = [row[0] for row in cursor.fetchall()]
    if tables and MARK not in tables:
        return False
    # The mark first: until it is there, nothing else is.
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {MARK} (id INT PRIMARY KEY)")
    cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
    for table in tables:
        if table != MARK:
            cursor.execute(f"DROP TABLE `{table}`")
    return True


def run(command):
    name, *arguments = command.split()
    sys.argv = [name, *arguments]
    if "oslo_config.cfg" in sys.modules:
        # An earlier command has read its arguments; only before that can the next one add its own.
        sys.modules["oslo_config.cfg"].CONF.reset()
    print("run:", command)
    try:
        runpy.run_path(shutil.which(name), run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0) and not is_ahead(end.code):
            raise
    except Exception as error:
        if not is_ahead(error):
            raise


def is_ahead(error):
    """After a way back the schema is a newer release's, which this one only reads: its migrations do not know where it stands, and
    there is nothing to add."""
    ahead = not new and any(words in str(error) for words in ("Can't locate revision", "No such revision or branch"))
    if ahead:
        print("the schema is of a newer release:", error)
    return ahead


arguments = argparse.ArgumentParser()
arguments.add_argument("config")
arguments.add_argument("section")
arguments.add_argument("--new", action="append", default=[])
arguments.add_argument("--used", action="append", default=[])
arguments = arguments.parse_args()
with connect(arguments.config, arguments.section) as connection, connection.cursor() as cursor:
    new = is_new(cursor)
for command in arguments.new if new else arguments.used or arguments.new:
    run(command)
if new:
    with connect(arguments.config, arguments.section) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {MARK}")
print("the schema is made" if new else "the schema is up to date")
# All is committed; taking the interpreter apart would cost most of a second.
sys.stdout.flush()
os._exit(0)
