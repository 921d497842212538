"""Wires the ingest service. Run it with `python -m services.ingest.app`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg
from fastapi import APIRouter
from starlette.types import ASGIApp

from contracts.events import Event
from contracts.topics import INBOUND, INTERACTIONS
from services.ingest.api import Mappings, build_api, limited
from services.ingest.calendar_pass import calendar_readers
from services.ingest.configuration import Examined, examine_for
from services.ingest.domain.identities import Directory
from services.ingest.domain.source import Source, own_addresses
from services.ingest.doors.amazon import Amazon, BoundedGet
from services.ingest.erasing import Eraser
from services.ingest.folder_pass import folder_readers
from services.ingest.inbound import InboundHandler
from services.ingest.mailbox import mailbox_readers
from services.ingest.planned import MeetingPlanner
from services.ingest.polling import Poller, Reader
from services.ingest.probing import Probes, Step
from services.ingest.publisher import Publisher
from services.ingest.reception import Reception
from services.ingest.reloading import Reloader
from services.ingest.reporting import SourceReport
from services.ingest.settings import IngestSettings
from services.ingest.sources.cloudevents import read_cloudevent
from services.ingest.sources.history import read_calendar
from services.ingest.sources.quick import quick_lines
from services.ingest.sources.registry import mail_mappings, webhook_mappings
from services.ingest.statistics import Statistics
from services.ingest.switching import Pieces, Switch, Wanted
from services.ingest.tokens import SharedTokens
from services.runtime import dead_letter_api
from services.runtime.auth import TokenVerifier
from services.runtime.clock import Clock, build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.flow import Flow
from services.runtime.health import operations_app, status_check
from services.runtime.outbox import Relay
from services.runtime.postgres import create_pool
from services.runtime.presence import BrokerPresence
from services.runtime.service import Component, Service, run
from services.runtime.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class _Lasting:
    """What stays whatever sources.toml says."""

    settings: IngestSettings
    telemetry: Telemetry
    clock: Clock
    pool: asyncpg.Pool
    publisher: Publisher
    statistics: Statistics
    planner: MeetingPlanner
    report: SourceReport
    outside: BoundedGet
    amazon: Amazon
    consumers: Pieces[BatchConsumer[Event]]
    verifier: TokenVerifier | None
    letters: APIRouter | None
    once: SharedTokens


@dataclass(frozen=True, slots=True)
class _Arrangement:
    """What follows from sources.toml: the doors, what polls, whether the topic is read."""

    lasting: _Lasting
    examined: Examined
    reception: Reception
    mappings: Mappings

    @classmethod
    def of(cls, lasting: _Lasting, examined: Examined) -> "_Arrangement":
        file, reads = examined.file, {}
        for name, source in examined.sources.items():
            reads[name] = (source.configuration.provider, source.configuration.options)
        reception = Reception(
            lasting.publisher,
            lasting.statistics,
            lasting.telemetry,
            lasting.clock,
            _directory(examined),
            file.privacy,
            lasting.planner,
        )
        mails = mail_mappings(reads)
        mappings = Mappings(webhook_mappings(reads), mails, read_cloudevent, quick_lines, read_calendar)
        return cls(lasting, examined, reception, mappings)

    def doors(self) -> ASGIApp:
        lasting = self.lasting
        return build_api(
            self.reception,
            self.examined.sources,
            self.mappings,
            lasting.verifier,
            lasting.letters,
            amazon=lasting.amazon,
            public_url=lasting.settings.public_url,
            watched=(lambda: lasting.report.standings(lasting.clock.now()), self._probes()),
            once=lasting.once,
            erase=Eraser(lasting.pool).erase,
        )

    def pollers(self) -> Mapping[str, Wanted[Poller]]:
        """One for each source that we ask ourselves: a change of one leaves the others alone."""

        def make(name: str) -> Poller:
            one, lasting = {name: self.examined.sources[name]}, self.lasting
            pool, mails = lasting.pool, self.mappings.mails
            readers: Sequence[Reader] = (
                *mailbox_readers(self.reception, one, mails, pool),
                *folder_readers(self.reception, one, mails, pool),
                *calendar_readers(self.reception, lasting.planner, one, pool, lasting.settings.zone),
            )
            return Poller(readers, pool, lasting.clock)

        return {
            name: Wanted(self._key(source), partial(make, name))
            for name, source in self.examined.sources.items()
            if source.polled
        }

    def topics(self) -> Mapping[str, Wanted[BatchConsumer[Event]]]:
        """One for the topic, where a source reads it."""
        sources = self._publishers()

        def make() -> BatchConsumer[Event]:
            return BatchConsumer(
                service="ingest",
                topics=[INBOUND],
                handler=InboundHandler(self.reception, sources, read_cloudevent),
                pool=self.lasting.pool,
                settings=self.lasting.settings,
                clock=self.lasting.clock,
                telemetry=self.lasting.telemetry,
            )

        return {INBOUND.name: Wanted(self._key(*sources), make)} if sources else {}

    def _probes(self) -> Probes:
        lasting = self.lasting

        async def last_pass(name: str) -> Step:
            standings = await lasting.report.standings(lasting.clock.now())
            last = next(one for one in standings if one.source.name == name)
            return {"step": "last pass", "outcome": "failed" if last.broken else "made", "why": last.status}

        def reader() -> str:
            return next((f"read: {consumer.status}" for consumer in lasting.consumers.running), "not read yet")

        inbound = InboundHandler(self.reception, self._publishers(), read_cloudevent)
        return Probes(self.examined.sources, inbound, lasting.outside.reaches, last_pass, reader)

    def _publishers(self) -> Sequence[Source]:
        return [one for one in self.examined.sources.values() if one.configuration.provider == "inbound"]

    def _key(self, *sources: Source) -> object:
        """What makes a poller or consumer another one: its own tables and keys, and what holds for all."""
        file = self.examined.file
        ours = own_addresses(self.examined.sources)
        return (sources, file.own_domains, file.default_region, file.privacy, ours)


async def build(settings: IngestSettings) -> Service:
    """Build everything from settings; touches neither the broker nor the database."""
    first = examine_for(settings)
    telemetry = Telemetry("ingest", settings)
    clock = build_clock(settings)
    pool = await create_pool(settings.database_url, name="ingest", command_seconds=settings.answer_seconds)
    verifier = TokenVerifier.from_settings(settings) if settings.auth_jwks_file else None
    letters = dead_letter_api.router(pool=pool, verifier=verifier, clock=clock) if verifier else None
    statistics = Statistics()
    publisher = Publisher(settings.physical(INTERACTIONS.name), settings)
    presence = BrokerPresence(settings, INTERACTIONS)
    planner = MeetingPlanner(pool, settings, clock, _directory(first), statistics)
    region = first.file.default_region
    report = SourceReport(pool, statistics, first.sources, clock, settings.zone, telemetry.metrics, region)
    outside, consumers = BoundedGet(), Pieces[BatchConsumer[Event]]()
    lasting = _Lasting(
        settings,
        telemetry,
        clock,
        pool,
        publisher,
        statistics,
        planner,
        report,
        outside,
        Amazon(outside),
        consumers,
        verifier,
        letters,
        SharedTokens(pool),
    )
    arrangement = _Arrangement.of(lasting, first)
    doors, pollers = Switch(arrangement.doors()), Pieces[Poller]()
    pollers.want(arrangement.pollers())
    consumers.want(arrangement.topics())

    async def use(examined: Examined) -> None:
        """Let another configuration hold: the doors at once and whole, what polls and the topic as they can."""
        after = _Arrangement.of(lasting, examined)
        doors.app = after.doors()
        report.use(examined.sources, examined.file.default_region)
        planner.use(_directory(examined))
        await pollers.change(after.pollers())
        await consumers.change(after.topics())

    reloader = Reloader(settings.sources_file, settings.secrets_dir, first, use, telemetry.metrics)
    # What comes in by the broker, and meetings when they have begun, go out by the outbox; doors and mailboxes publish
    # themselves.
    relay = Relay(service="ingest", dsn=settings.database_url, settings=settings, telemetry=telemetry)
    components: list[Component] = [publisher, presence, report, pollers, lasting.amazon, planner, consumers, relay]
    flow = Flow(
        service="ingest",
        clock=clock,
        pool=pool,
        consumers=consumers.running,
        parts={"sources": report.part, "meetings": planner.part, "configuration": reloader.part},
        metrics=telemetry.metrics,
    )
    # The database is no check: without it the doors stay open, only statistics and mailboxes wait.
    checks = {
        "broker": status_check(lambda: presence.there, lambda: presence.status),
        "publisher": status_check(lambda: publisher.connected, lambda: "waiting: the broker"),
    }
    return Service(
        name="ingest",
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=limited(doors),
        components=[*components, reloader],
        resources=[outside.aclose, pool.close],
    )


def _directory(examined: Examined) -> Directory:
    file = examined.file
    return Directory(file.own_domains, file.default_region, own_addresses(examined.sources))


if __name__ == "__main__":
    run("ingest", IngestSettings, build)
