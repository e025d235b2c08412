"""Keystone's application, with what each worker would do at its first request done once, before the workers are forked:
policy, SQLAlchemy's mappers and late imports cost a fifth of a second of each, and memory that can be shared.
"""

# ruff: noqa: F401
import oslo_messaging._drivers.impl_rabbit
import pymysql
import sqlalchemy.orm

from keystone.common.rbac_enforcer import enforcer
from keystone.wsgi.api import application

sqlalchemy.orm.configure_mappers()
enforcer.RBACEnforcer()._enforcer.load_rules()
