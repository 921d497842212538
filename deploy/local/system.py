"""A whole Tenure on one machine: Kafka, PostgreSQL, topics, databases and each service as a process of its own.

`start_system` is what `tenure up`, the demo and the end-to-end tests call. It returns when every service is ready, or
raises LocalFault and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Self

from deploy.databases import SERVICES, DatabaseAccess, MigrationFault, access, login_roles, migrate, provision
from deploy.local.instance import Instance, this_process
from deploy.local.kafka import LocalKafka, Report
from deploy.local.postgres import LocalPostgres
from deploy.local.processes import LocalFault, ProcessRecord, free_port, kill, last_words, pause, resume, spawn, stop
from deploy.topics import TopicsFault, create_topics
from services.runtime.clock import write_moment

ISSUER = "https://login.tenure.invalid"  # a name, never looked up
AUDIENCE = "tenure"
_NO_SOURCES = "own_domains = []\n"
_READY_WITHIN = 90.0  # seconds
_TITLES = {"kafka": "Kafka", "postgres": "PostgreSQL"}


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """What a caller wants of its system. `environment` adds or replaces settings, by service or for `all`."""

    sources_toml: str = _NO_SOURCES
    secrets: Mapping[str, str] = field(default_factory=dict)  # files beside it, as its secret_files name them
    clock: datetime | None = None  # simulated from this moment on; None: the real clock
    time_zone: str = "Europe/Berlin"
    reporting_currency: str = "EUR"
    topic_prefix: str = ""
    partitions: int | None = None  # None: as contracts/topics.py has them
    durable: bool = True  # False: PostgreSQL without fsync
    ephemeral: bool = False  # the data is deleted when the system is stopped
    services: tuple[str, ...] = SERVICES
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # for `kafka` or `postgres`: from the port where it listens to the one that services are to use (a proxy before it)
    through: Mapping[str, Callable[[int], int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a service is started when not as usual: under a wrapper, or from an older checkout."""

    command: tuple[str, ...]
    """After the interpreter; its last word is what we recognise the process by."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Whole names, in addition to the settings or instead of them."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a service of this machine listens."""

    http: str  # its API and doors
    operations: str  # /livez, /readyz, /flow, /metrics


class System:
    """A running system. Every part can be killed and started again; it keeps its ports, its data and its settings.

    A part is `kafka`, `postgres`, a service, or a further replica of one (`accounts-2`), which begins with `start`.
    `launches` says of services and replicas how they are started from now on, where that is not as usual.
    """

    def __init__(self, instance: Instance, plan: SystemPlan, *, report: Report) -> None:
        from services.runtime.auth import Issuer  # noqa: PLC0415 - brings FastAPI along, which most commands do without

        self.instance = instance
        self.plan = plan
        self.kafka = LocalKafka(
            instance.directory / "kafka",
            log=self.log("kafka"),
            short_lived=True,
            through=plan.through.get("kafka"),
            report=report,
            spawned=lambda record: self._started("kafka", record),
        )
        self.postgres = LocalPostgres(
            instance.directory / "postgres",
            durable=plan.durable,
            log=self.log("postgres"),
            spawned=lambda record: self._started("postgres", record),
        )
        self.issuer = Issuer(instance.secrets / "issuer", ISSUER, AUDIENCE)
        self.databases: dict[str, DatabaseAccess] = {}
        self._reached: dict[str, DatabaseAccess] = {}
        self.services: dict[str, ServiceAddress] = {}
        self.replicas: dict[str, ServiceAddress] = {}
        self.launches: dict[str, Launch] = {}
        self.clock_file = instance.directory / "clock"
        self.trace_directory = instance.logs
        self._records: dict[str, ProcessRecord] = {}
        self._report = report

    def url(self, service: str) -> str:
        """The address of a service's API."""
        return self._address(service).http

    def operations_url(self, service: str) -> str:
        """The address of a service's operations port."""
        return self._address(service).operations

    def token(self, subject: str, roles: Iterable[str] = (), lifetime: timedelta = timedelta(minutes=5)) -> str:
        """A bearer token of the local issuer."""
        return self.issuer.issue(subject, tuple(roles), lifetime)

    def set_clock(self, moment: datetime) -> None:
        """Steps the simulated clock of all services. Raises LocalFault when the plan has the real one."""
        if self.plan.clock is None:
            raise LocalFault("This system runs on the real clock; it cannot be stepped.")
        write_moment(self.clock_file, moment)

    def log(self, part: str) -> Path:
        """Where a part writes its log."""
        return self.instance.logs / f"{part}.log"

    def pid(self, part: str) -> int:
        """The process of a part that was started."""
        return self._records[part].pid

    def check(self) -> None:
        """Raises LocalFault, with the end of its log, when a part that was started does not run any more."""
        for part, record in self._records.items():
            if record.find() is None:
                raise LocalFault(f"{_TITLES.get(part, part)} has stopped unexpectedly. {last_words(self.log(part))}")

    def kill(self, part: str) -> None:
        """SIGKILL to `kafka`, `postgres` or a service, as a fault does it. `start` brings it back."""
        kill(self._records.pop(part))

    def runs(self, part: str) -> bool:
        """Whether a part was started and neither ended by itself nor was killed."""
        record = self._records.get(part)
        return record is not None and record.find() is not None

    def pause(self, part: str) -> None:
        """SIGSTOP: it holds what it has and answers nobody until `resume`."""
        pause(self._records[part])

    def resume(self, part: str) -> None:
        """SIGCONT."""
        resume(self._records[part])

    def stop_part(self, part: str) -> None:
        """Ends one part as its operator would."""
        {"kafka": self.kafka.stop, "postgres": self.postgres.stop}.get(part, lambda: stop(self._records[part]))()
        self._records.pop(part)

    def start(self, part: str, *, wait: bool = True) -> None:
        """Starts a part that does not run; returns when it is ready, unless `wait` is False."""
        if part == "kafka":
            self.kafka.start()
        elif part == "postgres":
            self.postgres.start()
        else:
            self._start_service(part)
            if wait:
                self.wait_ready([part])

    def restart(self, part: str) -> None:
        """SIGKILL, then start again."""
        self.kill(part)
        self.start(part)

    def wait_ready(self, services: Iterable[str]) -> None:
        """Waits until each answers /readyz with 200. Raises LocalFault when a part dies or time runs out."""
        deadline = time.monotonic() + _READY_WITHIN
        for service in services:
            while not _answers(f"{self.operations_url(service)}/readyz"):
                self.check()
                if time.monotonic() > deadline:
                    raise LocalFault(
                        f"{service} was not ready after {_READY_WITHIN:.0f} seconds. {last_words(self.log(service))}"
                    )
                time.sleep(0.05)

    def release(self) -> None:
        """Leaves everything running when this process ends; `tenure down` stops it."""
        self.instance.release()

    def stop(self) -> None:
        """Stops what runs, the last one started first. Data that is not durable is deleted."""
        self._records.clear()
        self.instance.stop_all(self._report)
        if not self.plan.durable:
            self.postgres.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def bring_up(self) -> None:
        """Everything, in order; called by `start_system`."""
        self._report("starting Kafka and PostgreSQL, creating topics and databases")
        with ThreadPoolExecutor(2) as pool:
            for half in [pool.submit(self._bring_up_postgres), pool.submit(self._bring_up_kafka)]:
                half.result()
        if self.plan.clock is not None:
            self.set_clock(self.plan.clock)
        for name, text in {**self.plan.secrets, "sources.toml": self.plan.sources_toml}.items():
            self._write_secret(name, text)
        self._choose_addresses()
        self._report(f"starting {', '.join(self.plan.services)}")
        for service in self.plan.services:
            self._start_service(service)
        self.wait_ready(self.plan.services)

    def _bring_up_kafka(self) -> None:
        self.start("kafka")
        creation = create_topics(
            self.kafka.bootstrap, prefix=self.plan.topic_prefix, embedded=True, partitions=self.plan.partitions
        )
        asyncio.run(creation)
        own = str(self.instance.secrets / "sources.toml")
        sources = self.plan.environment.get("ingest", {}).get("SOURCES_FILE", own)
        self.instance.remember(kafka=self.kafka.bootstrap, topic_prefix=self.plan.topic_prefix, sources=sources)

    def _bring_up_postgres(self) -> None:
        self.start("postgres")
        passwords = self._passwords()
        asyncio.run(provision(self.postgres.admin_dsn, passwords, self.plan.services))
        around = self.plan.through.get("postgres")
        direct, port = self.postgres.admin_dsn, self.postgres.port
        detour = direct.replace(f":{port}/", f":{around(port)}/") if around else direct
        for service in self.plan.services:
            self.databases[service] = access(direct, service, passwords)
            self._reached[service] = access(detour, service, passwords)
            migrate(service, self.databases[service].owner)

    def _passwords(self) -> dict[str, str]:
        path = self.instance.secrets / "database-passwords.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        passwords = {login: known.get(login) or secrets.token_urlsafe(18) for login in login_roles()}
        self._write_secret(path.name, json.dumps(passwords))
        return passwords

    def _write_secret(self, name: str, text: str) -> None:
        path = self.instance.secrets / name
        path.touch(mode=0o600)
        path.write_text(text)

    def _choose_addresses(self) -> None:
        ports: list[int] = []
        while len(ports) < 2 * len(self.plan.services):
            if (port := free_port()) not in ports:
                ports.append(port)
        for service, http, operations in zip(self.plan.services, ports[::2], ports[1::2], strict=True):
            self.services[service] = ServiceAddress(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{operations}")
        self.instance.remember(
            services={name: {"http": at.http, "operations": at.operations} for name, at in self.services.items()},
            clock=str(self.clock_file) if self.plan.clock else None,
        )

    def _address(self, part: str) -> ServiceAddress:
        return self.replicas[part] if part in self.replicas else self.services[part]

    def _start_service(self, part: str) -> None:
        service = service_of(part)
        if part != service and part not in self.replicas:
            self.replicas[part] = ServiceAddress(f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
        usual = Launch(("-m", f"services.{service}.app"))
        launch = self.launches.get(part) or self.launches.get(service) or usual
        record = spawn(
            [sys.executable, *launch.command],
            mark=launch.command[-1],
            log=self.log(part),
            environment={**self.environment(part), **launch.environment},
            directory=self.instance.directory,
        )
        self._started(part, record)

    def _started(self, part: str, record: ProcessRecord) -> None:
        self._records[part] = record
        self.instance.add(part, record)

    def environment(self, part: str) -> dict[str, str]:
        """The environment of a service or replica: this process's own without TENURE_ variables, then the settings."""
        service = service_of(part)
        address, database = self._address(part), self._reached[service]
        settings = {
            "ENVIRONMENT": "development",
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap_through,
            "TOPIC_PREFIX": self.plan.topic_prefix,
            "DATABASE_URL": database.worker,
            "API_DATABASE_URL": database.api,
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": address.http.rpartition(":")[2],
            "OPERATIONS_PORT": address.operations.rpartition(":")[2],
            "CLOCK": f"file:{self.clock_file}" if self.plan.clock else "real",
            "TIME_ZONE": self.plan.time_zone,
            "REPORTING_CURRENCY": self.plan.reporting_currency,
            "AUTH_JWKS_FILE": str(self.issuer.jwks_file),
            "AUTH_ISSUER": ISSUER,
            "AUTH_AUDIENCE": AUDIENCE,
            "TRACE_FILE": str(self.trace_directory / f"{part}.trace.jsonl"),
        }
        if service == "ingest":
            settings["SOURCES_FILE"] = str(self.instance.secrets / "sources.toml")
        if service == "notifier":
            settings |= {
                f"{name.upper()}_OPERATIONS_URL": at.operations
                for name, at in self.services.items()
                if name != "notifier"
            }
        settings |= {**self.plan.environment.get("all", {}), **self.plan.environment.get(service, {})}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
        return inherited | {f"TENURE_{name}": value for name, value in settings.items()}


def service_of(part: str) -> str:
    """The service of which a part is a replica; of any other part its own name."""
    return part.partition("-")[0]


def start_system(
    directory: Path, plan: SystemPlan | None = None, *, fresh: bool = True, report: Report = lambda _: None
) -> System:
    """Starts a system with its files below `directory` and returns it when every service is ready.

    `fresh` begins with empty databases and topics. What is started ends with the calling process, however that ends,
    until `release` is called. Raises LocalFault with a sentence; then nothing is left running.
    """
    instance = Instance(directory)
    plan = plan or SystemPlan()
    instance.begin(this_process(), fresh=fresh)
    try:
        instance.remember(ephemeral=plan.ephemeral)
        system = System(instance, plan, report=report)
        system.bring_up()
    except (TopicsFault, MigrationFault) as fault:
        instance.stop_all()
        raise LocalFault(str(fault)) from fault
    except BaseException:
        instance.stop_all()
        raise
    return system


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an http address of this machine
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, ValueError):  # refused, reset, 503: not yet
        return False
