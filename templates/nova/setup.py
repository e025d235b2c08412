"""Nova's databases and cells, in one process: a start of Python with Nova's modules costs seconds. Idempotent.

    setup.py expand              the schemas of this release, and the mapping of the cells
    setup.py discover HOST...    maps computes that have registered to their cell; fails if one of these is not there
    setup.py back                lets this release's services start where newer ones are recorded, which may still serve
    setup.py settle              lets this release read what a newer one has written, which serves no more
"""

import json
import os
import sys
import traceback

import alembic.util
from nova import config
from nova import context
from nova import objects
from nova.db import migration
from nova.db.api import api as api_database
from nova.db.main import api as database
import nova.conf
from nova.objects import host_mapping, image_meta
from nova.objects import service as service_object
from oslo_log import log
from oslo_utils import uuidutils
import sqlalchemy

CONF = nova.conf.CONF
# Nova fills these in from [database] connection and transport_url: no password is stored, and a new one needs no change here.
LOGIN = "{username}:{password}@{hostname}:{port}"


def wanted_cells(ctxt):
    """The cells that every deployment has: cell0 for servers that never got a host, and cell1. cell1 is the last."""
    brokers = CONF.transport_url.count(",") + 1
    logins = LOGIN if brokers == 1 else ",".join(LOGIN.replace("}", f"{number}}}") for number in range(1, brokers + 1))
    yield objects.CellMapping(ctxt, uuid=objects.CellMapping.CELL0_UUID, name="cell0", transport_url="none:///",
                              database_connection="{scheme}://" + LOGIN + "/nova_cell0?{query}")
    yield objects.CellMapping(ctxt, uuid=uuidutils.generate_uuid(), name="cell1", transport_url="{scheme}://" + logins + "/{path}",
                              database_connection="{scheme}://" + LOGIN + "/{path}?{query}")


def mapped_cells(ctxt):
    """Those in the database; none if a first run was killed before cell1, so that nobody ever served from it."""
    if "cell_mappings" not in sqlalchemy.inspect(api_database.get_engine()).get_table_names():
        return []
    cells = list(objects.CellMappingList.get_all(ctxt))
    return cells if any(not cell.is_cell0() for cell in cells) else []


def clear(engine):
    """MariaDB cannot take a half-made schema back, nor can the migrations go on from within one: begin anew."""
    with engine.begin() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in tables:
            connection.execute(sqlalchemy.text(f"DROP TABLE `{table}`"))
        connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 1"))


def at_once(jobs):
    """Runs each job in a process of its own; schemas of different databases have nothing to do with each other."""
    children = []
    for job in jobs:
        child = os.fork()
        if child == 0:
            try:
                job()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit(1)


def sync(used, **where):
    try:
        migration.db_sync(**where)
    except alembic.util.CommandError as error:
        # After a way back the schema is a newer release's, which this one only reads: there is nothing to add.
        if not used or "Can't locate revision" not in str(error):
            raise
        print("the schema is of a newer release:", error)


def expand():
    ctxt = context.get_admin_context()
    mapped = mapped_cells(ctxt)
    # The pools must not be shared with the processes below.
    api_database.get_engine().dispose()

    def sync_api():
        if not mapped:
            clear(api_database.get_engine())
        sync(mapped, database="api")

    def sync_cell(cell):
        # One that is not in the database yet still has names in the place of values.
        cell = cell.obj_clone()
        cell.database_connection = objects.CellMapping.format_db_url(cell.database_connection)
        cell.transport_url = objects.CellMapping.format_mq_url(cell.transport_url)
        with context.target_cell(context.get_admin_context(), cell) as cell_context:
            if not mapped:
                clear(database.get_engine(context=cell_context))
            sync(mapped, context=cell_context)

    wanted = list(wanted_cells(ctxt))
    at_once([sync_api, *(lambda cell=cell: sync_cell(cell) for cell in mapped or wanted)])
    names = [cell.name for cell in mapped]
    for cell in wanted:
        if cell.name not in names:
            cell.create()
            continue
        there = mapped[names.index(cell.name)]
        there.transport_url, there.database_connection = cell.transport_url, cell.database_connection
        there.save()
    print("schemas: of this release; cells: " + ", ".join(cell.name for cell in objects.CellMappingList.get_all(ctxt)))


def discover(hosts):
    ctxt = context.get_admin_context()
    host_mapping.discover_hosts(ctxt, status_fn=print)
    for host in hosts:
        print(f"{host} is in {objects.HostMapping.get_by_host(ctxt, host).cell_mapping.name}")


def older(item):
    """An object as this release knows it. Only images' properties are newer in what a newer API writes (seen with 33 against 31)."""
    if isinstance(item, list):
        return [older(one) for one in item]
    if not isinstance(item, dict):
        return item
    item = {key: older(value) for key, value in item.items()}
    known = image_meta.ImageMetaProps
    if item.get("nova_object.name") == "ImageMetaProps" and item["nova_object.version"] != known.VERSION:
        item["nova_object.version"] = known.VERSION
        item["nova_object.data"] = {key: value for key, value in item["nova_object.data"].items() if key in known.fields}
        item["nova_object.changes"] = [key for key in item.get("nova_object.changes", []) if key in known.fields]
    return item


def back():
    # A service refuses to start where a newer one is recorded; it is recorded when it starts, and never again.
    version = service_object.SERVICE_VERSION
    lower = sqlalchemy.text("UPDATE services SET version = :version WHERE version > :version AND deleted = 0")
    count = 0
    for cell in mapped_cells(context.get_admin_context()):
        with context.target_cell(context.get_admin_context(), cell) as cell_context:
            with database.get_engine(context=cell_context).begin() as connection:
                count += connection.execute(lower, {"version": version}).rowcount
    print(f"services recorded as newer than version {version}: {count}")


def settle():
    # What a server was asked for is read again when it is resized or moved.
    changed = 0
    with api_database.get_engine().begin() as connection:
        for row in connection.execute(sqlalchemy.text("SELECT id, spec FROM request_specs")).all():
            spec = json.loads(row.spec)
            if older(spec) != spec:
                update = sqlalchemy.text("UPDATE request_specs SET spec = :spec WHERE id = :id")
                connection.execute(update, {"spec": json.dumps(older(spec)), "id": row.id})
                changed += 1
    print(f"servers' requests rewritten: {changed}")


phase, hosts = sys.argv[1], " ".join(sys.argv[2:]).split()
config.parse_args(["nova-setup", "--config-file", "/etc/nova/nova.conf"])
log.setup(CONF, "nova")
objects.register_all()
if phase == "expand":
    expand()
elif phase == "back":
    back()
elif phase == "settle":
    settle()
else:
    discover(hosts)
# All is committed; taking the interpreter apart would cost most of a second.
sys.stdout.flush()
os._exit(0)
