"""Wires the ingest service. Run it with `python -m services.ingest.app`."""

from contracts.topics import INBOUND, INTERACTIONS
from services.ingest.api import Mappings, build_api
from services.ingest.configuration import read_sources
from services.ingest.domain.identities import Directory
from services.ingest.domain.source import own_addresses
from services.ingest.doors.amazon import Amazon, BoundedGet
from services.ingest.inbound import InboundHandler
from services.ingest.mailbox import MailboxPoller
from services.ingest.planned import MeetingPlanner
from services.ingest.publisher import Publisher
from services.ingest.reception import Reception
from services.ingest.reporting import SourceReport
from services.ingest.settings import IngestSettings
from services.ingest.sources.cloudevents import read_cloudevent
from services.ingest.sources.history import read_calendar
from services.ingest.sources.quick import quick_lines
from services.ingest.sources.registry import mail_mappings, webhook_mappings
from services.ingest.statistics import Statistics
from services.runtime import dead_letter_api
from services.runtime.auth import TokenVerifier
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.flow import Flow
from services.runtime.health import operations_app, status_check
from services.runtime.outbox import Relay
from services.runtime.postgres import create_pool
from services.runtime.presence import BrokerPresence
from services.runtime.service import Component, Service, run
from services.runtime.telemetry import Telemetry


async def build(settings: IngestSettings) -> Service:
    """Build everything from settings; touches neither the broker nor the database."""
    file, sources = read_sources(settings)
    telemetry = Telemetry("ingest", settings)
    clock = build_clock(settings)
    pool = await create_pool(settings.database_url, name="ingest", command_seconds=settings.answer_seconds)
    verifier = TokenVerifier.from_settings(settings) if settings.auth_jwks_file else None
    publisher = Publisher(settings.physical(INTERACTIONS.name), settings)
    presence = BrokerPresence(settings, INTERACTIONS)
    statistics = Statistics()
    directory = Directory(file.own_domains, file.default_region, own_addresses(sources))
    planner = MeetingPlanner(pool, settings, clock, directory, statistics)
    reception = Reception(publisher, statistics, telemetry, clock, directory, file.privacy, planner)
    chosen = {name: (source.configuration.provider, source.configuration.options) for name, source in sources.items()}
    mappings = Mappings(webhook_mappings(chosen), mail_mappings(chosen), read_cloudevent, quick_lines, read_calendar)
    mailboxes = MailboxPoller(reception, sources, mappings.mails, pool)
    report = SourceReport(pool, statistics, sources, clock, settings.zone, telemetry.metrics, file.default_region)
    consumers = [
        BatchConsumer(
            service="ingest",
            topics=[INBOUND],
            handler=InboundHandler(reception, source, read_cloudevent),
            pool=pool,
            settings=settings,
            clock=clock,
            telemetry=telemetry,
        )
        for source in sources.values()
        if source.configuration.provider == "inbound"
    ]
    # What comes in by the broker, and meetings when they have begun, go out by the outbox; doors and mailboxes publish
    # themselves.
    relay = Relay(service="ingest", dsn=settings.database_url, settings=settings, telemetry=telemetry)
    outside = BoundedGet()
    amazon = Amazon(outside)
    components: list[Component] = [publisher, presence, report, mailboxes, amazon, planner, *consumers, relay]
    flow = Flow(
        service="ingest",
        clock=clock,
        pool=pool,
        consumers=consumers,
        parts={"sources": report.part, "meetings": planner.part},
        metrics=telemetry.metrics,
    )
    letters = dead_letter_api.router(pool=pool, verifier=verifier, clock=clock) if verifier else None
    # The database is no check: without it the doors stay open, only statistics and mailboxes wait.
    checks = {
        "broker": status_check(lambda: presence.there, lambda: presence.status),
        "publisher": status_check(lambda: publisher.connected, lambda: "waiting: the broker"),
    }
    return Service(
        name="ingest",
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=build_api(
            reception,
            sources,
            mappings,
            verifier,
            letters,
            amazon=amazon,
            public_url=settings.public_url,
            standings=lambda: report.standings(clock.now()),
        ),
        components=components,
        resources=[outside.aclose, pool.close],
    )


if __name__ == "__main__":
    run("ingest", IngestSettings, build)
