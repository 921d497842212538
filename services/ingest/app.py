"""Wires the ingest service. Run it with `python -m services.ingest.app`."""

from contracts.topics import INTERACTIONS
from services.ingest.api import build_api
from services.ingest.identities import Directory
from services.ingest.publisher import Publisher
from services.ingest.reception import Reception
from services.ingest.settings import IngestSettings, read_sources
from services.ingest.statistics import Statistics
from services.runtime.clock import build_clock
from services.runtime.flow import Flow
from services.runtime.health import operations_app, status_check
from services.runtime.service import Service, run
from services.runtime.telemetry import Telemetry


async def build(settings: IngestSettings) -> Service:
    """Build everything from settings; touches neither the broker nor the database."""
    file, sources = read_sources(settings)
    telemetry = Telemetry("ingest", settings)
    clock = build_clock(settings)
    publisher = Publisher(settings.physical(INTERACTIONS.name), settings)
    statistics = Statistics(sources)
    reception = Reception(publisher, statistics, telemetry, clock, Directory(file.own_domains, file.default_region))
    flow = Flow(service="ingest", clock=clock, metrics=telemetry.metrics)
    checks = {"broker": status_check(lambda: publisher.connected, lambda: "waiting: the broker")}
    return Service(
        name="ingest",
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=build_api(reception, sources),
        components=[publisher],
    )


if __name__ == "__main__":
    run("ingest", IngestSettings, build)
