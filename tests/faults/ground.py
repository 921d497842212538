"""Where rounds take place: a whole system whose every part can be broken and mended while it works."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

from deploy.databases import SERVICES
from deploy.local.imap import LocalImap
from deploy.local.instance import CHECKOUT
from deploy.local.processes import LocalFault, free_port
from deploy.local.system import Launch, System, SystemPlan, start_system
from tests.faults.proxy import FAIR, Proxy
from tests.faults.sinks import Mood, Sinks

SERVERS = ("kafka", "postgres")
SESSION_SECONDS = 3.0
"""Of the consumer groups here: the shortest pause after which a replica's partitions are given away."""
POLLED = "mail-bela"
"""The one mailbox that ingest reads by IMAP here; the others push."""
_POLLED_SECRET = "imap.secret"
_POLLED_USER = "polled"
_PARTITIONS = 4
_DISK = "768m"
_LAST_LINES = 60


@dataclass
class Ground:
    """A running system, the proxies before its servers, the receivers behind it, and orders to its failpoints.

    It can be handed to whoever plays on a system: it has the addresses and tokens, and `check` does not mind services
    that a fault has ended.
    """

    system: System
    kafka_proxy: Proxy
    postgres_proxy: Proxy
    sinks: Sinks
    secrets: Mapping[str, str]
    mailboxes: Mapping[str, Callable[[bytes], None]]
    """By source, puts a mail where ingest will read it."""
    mails_lying: Callable[[], int]
    """How many mails lie there in all."""
    failpoints: Path
    small_disks: bool
    wrapped: dict[str, Launch] = field(default_factory=dict)
    """How services are started in this whole run; see `planted`."""
    spread_over: tuple[str, ...] = ()
    """Replicas among which requests are spread."""
    skewed: set[str] = field(default_factory=set)
    """Services whose real time is wrong."""
    _asked: int = 0
    _paused: set[str] = field(default_factory=set)

    # What a player needs.

    def url(self, service: str) -> str:
        """Address of a service's public port; where a fault says so, of one of its replicas after the other."""
        candidates = [part for part in self.spread_over if part.partition("-")[0] == service and self.system.runs(part)]
        if not candidates:
            return self.system.url(service)
        self._asked += 1
        return self.system.url(candidates[self._asked % len(candidates)])

    def operations_url(self, service: str) -> str:
        """Address of a service's operations port."""
        return self.system.operations_url(service)

    def token(self, subject: str, roles: Iterable[str] = (), lifetime: timedelta = timedelta(minutes=5)) -> str:
        """A bearer token."""
        return self.system.token(subject, roles, lifetime)

    def set_clock(self, moment: datetime) -> None:
        """Step the simulated clock."""
        self.system.set_clock(moment)

    def check(self) -> None:
        """Start a server that has ended since, as its supervisor would; other parts are broken on purpose.

        Of a full disk Kafka hears with its next write, which may come after the room was given back: it ends then.
        """
        for server in SERVERS:
            self.start_patiently(server)

    @property
    def bootstrap(self) -> str:
        """Kafka, not by way of the proxy."""
        return self.system.kafka.bootstrap

    def last_words(self, part: str) -> str:
        """The end of a part's log."""
        return "\n".join(self.system.log(part).read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def mails_read(self) -> int:
        """Of how many of those mails ingest has written down that it need not read them again."""
        ranges = "select unnest(read_uids) as one from mailbox_cursor"
        query = f"select coalesce(sum(upper(one) - lower(one)), 0) from ({ranges}) as read"  # noqa: S608 - constant
        return int(self.fetch("ingest", query)[0][0])

    # Breaking.

    @property
    def replicas(self) -> list[str]:
        """Further replicas that run."""
        return [part for part in self.system.replicas if self.system.runs(part)]

    def kill(self, part: str) -> None:
        """SIGKILL, where it runs."""
        if self.system.runs(part):
            self._paused.discard(part)
            self.system.kill(part)

    def start(self, part: str) -> None:
        """Start a part where it does not run; a service need not be ready yet."""
        if not self.system.runs(part):
            self.system.start(part, wait=False)

    def pause(self, part: str) -> None:
        """SIGSTOP."""
        if self.system.runs(part):
            self._paused.add(part)
            self.system.pause(part)

    def resume(self, part: str) -> None:
        """SIGCONT."""
        if part in self._paused:
            self._paused.discard(part)
            self.system.resume(part)

    def order(
        self, service: str, place: str, action: str, *, on: int = 1, seconds: float = 1.0, only: str | None = None
    ) -> None:
        """Tell a service, or `only` one replica of it, what to do at a failpoint, once; replaces earlier orders."""
        what: dict[str, object] = {"action": action, "on": on, "seconds": seconds}
        if only is not None:
            what["pid"] = self.system.pid(only)
        draft = self.failpoints / f"{service}.draft"
        draft.write_text(json.dumps({place: what}))
        draft.rename(self.failpoints / f"{service}.json")

    def withdraw_orders(self) -> None:
        """No failpoint breaks anything any more."""
        for service in SERVICES:
            (self.failpoints / f"{service}.json").unlink(missing_ok=True)

    def hits(self) -> Counter[tuple[str, str, str]]:
        """How often (service, place, what was done there or "reached")."""
        log = self.failpoints / "hits.log"
        lines = log.read_text().splitlines() if log.exists() else []
        counted: Counter[tuple[str, str, str]] = Counter()
        for line in lines:
            service, _, place, *done = line.split()
            counted[service, place, done[0] if done else "reached"] += 1
        return counted

    def fill(self, server: str) -> None:
        """Take every byte of the small disk on which `kafka` or `postgres` keeps its data."""
        directory = self.system.instance.directory / server
        # what is freed meanwhile is taken too: until the disk says no to a small piece as well
        with (directory / "ballast").open("wb", buffering=0) as file:
            for size in (2**20, 2**16, 2**12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        continue

    def empty(self, server: str) -> None:
        """Give the room back."""
        (self.system.instance.directory / server / "ballast").unlink(missing_ok=True)

    def rewrap(self) -> None:
        """Start anew what is to be started as `wrapped` says."""
        self.system.launches = dict(self.wrapped)
        for service in self.wrapped:
            self.system.restart(service)

    def heal(self) -> None:
        """Everything is there again and behaves; returns when the services of the plan are ready."""
        self.withdraw_orders()
        self.spread_over = ()
        for server in SERVERS:
            self.empty(server)
        self.kafka_proxy.turn(FAIR)
        self.postgres_proxy.turn(FAIR)
        self.sinks.mood = Mood.WELL
        # also what a failpoint has stopped
        for part in (*SERVERS, *SERVICES, *self.replicas):
            if self.system.runs(part):
                self.system.resume(part)
        self._paused.clear()
        for part in self.replicas:
            self.system.stop_part(part)
        for part, launch in list(self.system.launches.items()):
            if self.wrapped.get(part) != launch:
                self.kill(part)
        self.system.launches = dict(self.wrapped)
        for part in (*SERVERS, *SERVICES):
            self.start_patiently(part)
        self._wait_ready()
        self.skewed.clear()

    def _wait_ready(self) -> None:
        while True:
            try:
                self.system.wait_ready(SERVICES)
            except LocalFault:
                # of a service that ended by itself we want to hear, of a server that ended late we know why
                if all(self.system.runs(server) for server in SERVERS):
                    raise
                self.check()
            else:
                return

    def start_patiently(self, part: str) -> None:
        """Start a part; a server that was killed may need a second attempt until its last session is gone."""
        for attempt in range(5):
            try:
                self.start(part)
            except LocalFault:
                if attempt == 4:
                    raise
                self.kill(part)
            else:
                return

    # Looking and doing directly, not by way of the proxy.

    def fetch(self, service: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """What a service's database answers to its owner."""

        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.system.databases[service].owner)
            try:
                return await connection.fetch(query, *arguments)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def administer(self, *statements: str) -> None:
        """Run statements as the superuser, each in a transaction of its own."""

        async def run() -> None:
            connection = await asyncpg.connect(self.system.postgres.admin_dsn)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def tenure(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on this system's databases."""
        service = next((word for word in words if word in SERVICES), SERVICES[0])
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
        environment["TENURE_OWNER_DATABASE_URL"] = self.system.databases[service].owner
        command = [sys.executable, "-m", "services.cli.app", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=CHECKOUT)

    def end_sessions(self, like: str = "%", *, active: bool = False) -> None:
        """End sessions of services by their application name; `active`: only those that are inside a transaction."""
        inside = " and xact_start is not null" if active else ""
        self.administer(
            "select pg_terminate_backend(pid) from pg_stat_activity"  # noqa: S608 - names of ours
            f" where pid <> pg_backend_pid() and datname like 'tenure_%' and application_name like '{like}'{inside}"
        )

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(LocalFault):
            for part in list(self._paused):
                self.resume(part)
        self.system.stop()
        self.kafka_proxy.close()
        self.postgres_proxy.close()
        self.sinks.close()


def drawn_secrets(files: Sequence[str]) -> dict[str, str]:
    """A secret for each file; in a form that every scheme takes."""
    return {name: f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in files}


@contextmanager
def open_ground(
    *,
    sources_toml: str,
    secret_files: Mapping[str, str],
    begins_at: datetime,
    chance: Random,
    wrapped: Mapping[str, Launch] | None = None,
) -> Iterator[Ground]:
    """Start a fresh system and end it with the block. Everything below one directory, which is then removed."""
    # not in pytest's own folder: root's PostgreSQL runs as another user, whom pytest keeps out
    directory = Path(tempfile.gettempdir()) / f"tenure-faults-{uuid.uuid4().hex[:12]}"
    failpoints = directory / "failpoints"
    failpoints.mkdir(parents=True)
    small_disks = all(_mount_small(directory / server) for server in SERVERS)
    kafka_proxy, postgres_proxy = Proxy(Random(chance.random())), Proxy(Random(chance.random()))  # noqa: S311 - replayed
    sinks, imap_port = Sinks(), free_port()
    (imap_password,) = drawn_secrets([_POLLED_SECRET]).values()
    plan = SystemPlan(
        sources_toml=_polled(sources_toml, imap_port),
        secrets={**secret_files, _POLLED_SECRET: imap_password},
        clock=begins_at,
        durable=False,
        ephemeral=True,
        partitions=_PARTITIONS,
        through={"kafka": kafka_proxy.before, "postgres": postgres_proxy.before},
        environment={
            "all": {
                "FAILPOINTS": str(failpoints),
                "SECRETS_DIR": str(directory / "secrets"),
                "SESSION_SECONDS": str(SESSION_SECONDS),
            },
            "notifier": {
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(sinks.mail_port),
                "MAIL_FROM": "alerts@ours.example",
                # only here: web hooks of the tests listen on this machine
                "ALLOWED_NETWORKS": "127.0.0.0/8",
                "DELIVERY_RETRY_SECONDS": "0.3",
            },
        },
    )
    try:
        system = start_system(directory, plan, fresh=False)
        spawned = partial(system.instance.add, "imap")
        imap = LocalImap(
            system.instance.directory / "imap", _POLLED_USER, imap_password, port=imap_port, spawned=spawned
        )
        imap.start()
        mailboxes = {POLLED: imap.deliver}
        ground = Ground(
            system,
            kafka_proxy,
            postgres_proxy,
            sinks,
            secret_files,
            mailboxes,
            imap.count,
            failpoints,
            small_disks,
        )
        ground.wrapped.update(wrapped or {})
        ground.rewrap()
        try:
            yield ground
        finally:
            ground.close()
    finally:
        for server in SERVERS:
            subprocess.run(["umount", "--lazy", str(directory / server)], capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _polled(sources_toml: str, port: int) -> str:
    """The same sources, one mailbox of them by IMAP."""
    head, found, rest = sources_toml.partition(f'[sources.{POLLED}]\nprovider = "mail"\n')
    if not found:
        return sources_toml
    mailbox, _, rest = rest.partition("\nsecret_files")
    _, _, rest = rest.partition("\n")
    return f"""{head}[sources.{POLLED}]
provider = "imap"
{mailbox}
host = "127.0.0.1"
port = {port}
username = "{_POLLED_USER}"
password_file = "{_POLLED_SECRET}"
folder = "INBOX"
poll_seconds = 0.25
tls = false
{rest}"""


def _mount_small(directory: Path) -> bool:
    """Put a small disk of memory there, where this machine lets us."""
    directory.mkdir(parents=True, exist_ok=True)
    options = f"size={_DISK},mode=0711"
    command = ["mount", "-t", "tmpfs", "-o", options, "tenure-faults", str(directory)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
