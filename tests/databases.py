"""Databases for tests: cloned from a template that is migrated once for each state of the migrations."""

from __future__ import annotations

import hashlib
import uuid

import asyncpg

from deploy.databases import (
    DatabaseAccess,
    access,
    create_database,
    create_roles,
    login_role,
    login_roles,
    migrate,
    migration_directories,
    with_login,
)

_TEMPLATE_LOCK = 0x74656D706C61  # "templa": whoever comes first makes the template, the others wait


def _passwords(admin_dsn: str) -> dict[str, str]:
    """Derived, so that sessions which share a server agree on them."""
    return {login: hashlib.sha256(f"{admin_dsn} {login}".encode()).hexdigest()[:24] for login in login_roles()}


async def clone_database(admin_dsn: str, service: str) -> DatabaseAccess:
    """A database of its own for one test."""
    passwords = _passwords(admin_dsn)
    connection = await asyncpg.connect(admin_dsn)
    try:
        template = await _template(connection, admin_dsn, service, passwords)
        name = f"test_{service}_{uuid.uuid4().hex[:12]}"
        await create_database(connection, service, name, template=template)
    finally:
        await connection.close()
    return access(admin_dsn, service, passwords, name)


async def copy_database(admin_dsn: str, source: DatabaseAccess) -> DatabaseAccess:
    """A copy of a test's database as it is now, to which nobody may be connected: a backup, made and restored."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        name = f"test_{source.service}_{uuid.uuid4().hex[:12]}"
        await create_database(connection, source.service, name, template=source.name)
    finally:
        await connection.close()
    return access(admin_dsn, source.service, _passwords(admin_dsn), name)


async def drop_database(admin_dsn: str, name: str) -> None:
    """Drops a test's database, and ends the connections that it forgot."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"drop database if exists {name} with (force)")
    finally:
        await connection.close()


async def _template(connection: asyncpg.Connection, admin_dsn: str, service: str, passwords: dict[str, str]) -> str:
    name = f"tenure_template_{service}_{_digest(service)}"
    # whether the template has been made; a half-made one has another name
    made = "select exists (select from pg_database where datname = $1)"
    if await connection.fetchval(made, name):
        return name
    await connection.execute("select pg_advisory_lock($1)", _TEMPLATE_LOCK)
    try:
        if not await connection.fetchval(made, name):
            await create_roles(connection, passwords)
            draft = f"{name}_draft"
            await connection.execute(f"drop database if exists {draft} with (force)")
            await create_database(connection, service, draft)
            owner = login_role(service, "owner")
            migrate(service, with_login(admin_dsn, user=owner, password=passwords[owner], database=draft))
            await connection.execute(f"alter database {draft} rename to {name}")
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _TEMPLATE_LOCK)
    return name


def _digest(service: str) -> str:
    """Of the names and texts of all migrations: an edited migration makes another template."""
    digest = hashlib.sha256()
    for directory, _ in migration_directories(service):
        for path in sorted(directory.glob("*.sql")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
