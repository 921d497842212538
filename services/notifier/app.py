"""The notifier as one process: wiring, and nothing else."""

import asyncio
from dataclasses import dataclass

import asyncpg
import httpx2

from contracts.topics import ACCOUNTS, ACTIVITY, KPIS
from services.notifier.api import Scope, Tables, create_api
from services.notifier.channels.mail import MailChannel
from services.notifier.channels.webhook import WebhookChannel, new_client
from services.notifier.dispatch import Dispatcher
from services.notifier.domain.ports import Channel
from services.notifier.handlers import Handlers, Keeping, Known
from services.notifier.lookout import Lookout
from services.notifier.poller import Poller
from services.notifier.said import Said
from services.notifier.settings import NotifierSettings
from services.notifier.sourcewatch import SourceWatch
from services.notifier.store import (
    accounts,
    alerts,
    deliveries,
    delivery_log,
    destinations,
    gathering,
    people,
    rebuilds,
    recalling,
    rules,
    taking,
    watch,
)
from services.notifier.store.republishing import AlertsAgain
from services.notifier.upstream import UpstreamFlow
from services.runtime.auth import TokenVerifier
from services.runtime.clock import Clock, build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.flow import Flow
from services.runtime.freshness import Freshness
from services.runtime.health import operations_app, postgres_check, status_check
from services.runtime.outbox import Relay
from services.runtime.postgres import ANSWER_PEOPLE, create_pool
from services.runtime.rebuild import Rebuild
from services.runtime.republish import Republisher
from services.runtime.service import Service, run
from services.runtime.session_locks import SESSIONS_OF_SILENCE
from services.runtime.telemetry import Telemetry

NAME = "notifier"


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything here stands on."""

    settings: NotifierSettings
    clock: Clock
    telemetry: Telemetry
    pool: asyncpg.Pool
    look: asyncio.Event
    """Set by whoever commits something that may be due; the poller waits for it."""
    deliver: asyncio.Event
    """Set by whoever commits a delivery; the dispatcher waits for it."""
    begin: asyncio.Event
    """Set once it is known whether mail must be held because we were away."""


async def build(settings: NotifierSettings) -> Service:
    """Wire the service; touches neither broker nor database."""
    pool = await create_pool(settings.database_url, name=NAME, command_seconds=settings.answer_seconds)
    api_pool = await create_pool(
        settings.reading_url, name=f"{NAME}-api", statement_timeout_ms=10_000, command_seconds=ANSWER_PEOPLE
    )
    shadow = await create_pool(
        settings.database_url, name=f"{NAME}-rebuild", search_path="rebuild", command_seconds=None
    )
    clock, telemetry, zone = build_clock(settings), Telemetry(NAME, settings), settings.zone
    on = _Ground(settings, clock, telemetry, pool, asyncio.Event(), asyncio.Event(), asyncio.Event())
    hooks, inside = new_client(), new_client()
    consumer = _consumer(on)
    poller, dispatcher = _poller(on, consumer, inside), _dispatcher(on, hooks)
    relay = Relay(service=NAME, dsn=settings.database_url, settings=settings, telemetry=telemetry)
    rebuild, republisher = _rebuild(on, shadow), Republisher(pool, [AlertsAgain()], clock)
    parts = {
        "poller": poller.flow,
        "deliveries": dispatcher.flow,
        "republish": republisher.probe,
        "rebuild": rebuild.probe,
    }
    flow = Flow(service=NAME, clock=clock, pool=pool, consumers=(consumer,), parts=parts, metrics=telemetry.metrics)
    checks = {
        "postgres": postgres_check(pool),
        "consumer": status_check(lambda: consumer.ready, lambda: consumer.status),
        "poller": status_check(lambda: poller.ready(settings.stall_after), lambda: poller.status),
    }

    api = create_api(
        scope=Scope(
            TokenVerifier.from_settings(settings), pool, api_pool, clock, zone, Freshness.of(consumer, ACCOUNTS)
        ),
        tables=Tables(accounts, alerts, taking, rules, delivery_log, destinations),
        telemetry=telemetry,
        secrets=settings.secrets_dir,
        look=on.look.set,
        deliver=on.deliver.set,
        republisher=republisher,
        rebuild=rebuild,
    )
    return Service(
        name=NAME,
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=api,
        components=(consumer, relay, poller, dispatcher, republisher, rebuild),
        resources=(hooks.aclose, inside.aclose, api_pool.close, shadow.close, pool.close),
    )


def _consumer(on: _Ground) -> BatchConsumer[Known]:
    handlers = Handlers(
        accounts=accounts,
        people=people,
        rules=rules,
        alerts=alerts,
        watch=watch,
        zone=on.settings.zone,
        limit=on.settings.catch_up_after,
    )
    return BatchConsumer(
        service=NAME,
        topics=(ACCOUNTS, ACTIVITY, KPIS),
        handler=handlers,
        pool=on.pool,
        settings=on.settings,
        clock=on.clock,
        telemetry=on.telemetry,
        # Most batches make nothing due, and a pass that finds nothing costs as much as a small batch.
        after_commit=lambda: on.look.set() if handlers.pressing() else None,
    )


def _poller(on: _Ground, consumer: BatchConsumer[Known], inside: httpx2.AsyncClient) -> Poller:
    settings, zone = on.settings, on.settings.zone
    own = Flow(service=NAME, clock=on.clock, pool=on.pool, consumers=(consumer,))
    lookout = Lookout(
        pool=on.pool,
        watch=watch,
        gathering=gathering,
        upstream=UpstreamFlow(services=settings.operations_urls, own=own.report, client=inside),
        said=Said(settings),
        recalling=recalling,
        limit=settings.catch_up_after,
        zone=zone,
        silence=SESSIONS_OF_SILENCE * settings.session_seconds,
        begin=on.begin,
        telemetry=on.telemetry,
    )
    return Poller(
        pool=on.pool,
        accounts=accounts,
        rules=rules,
        alerts=alerts,
        taking=taking,
        lookout=lookout,
        sources=SourceWatch(on.pool, accounts, alerts, taking, people, rules, zone, on.telemetry),
        clock=on.clock,
        zone=zone,
        telemetry=on.telemetry,
        wake=on.look,
        spoke=on.deliver.set,
    )


def _dispatcher(on: _Ground, hooks: httpx2.AsyncClient) -> Dispatcher:
    settings = on.settings
    channels: dict[str, Channel] = {
        "mail": MailChannel(settings.smtp_server, sender=settings.mail_from, console_url=settings.console_url),
        "webhook": WebhookChannel(hooks, secrets=settings.secrets_dir, allowed=settings.networks),
    }
    return Dispatcher(
        pool=on.pool,
        deliveries=deliveries,
        channels=channels,
        zone=settings.zone,
        first_retry=settings.first_retry,
        lease_seconds=settings.delivery_lease_seconds,
        wake=on.deliver,
        begin=on.begin,
        telemetry=on.telemetry,
    )


def _rebuild(on: _Ground, shadow: asyncpg.Pool) -> Rebuild:
    return Rebuild(
        service=NAME,
        settings=on.settings,
        topics=(ACCOUNTS, ACTIVITY, KPIS),
        whole=(KPIS,),
        handler=Keeping(accounts=accounts, people=people),
        tables=rebuilds,
        pool=on.pool,
        shadow=shadow,
        clock=on.clock,
        telemetry=on.telemetry,
        swapped=on.look.set,
    )


if __name__ == "__main__":
    run(NAME, NotifierSettings, build)
