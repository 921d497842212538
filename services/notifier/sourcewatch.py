"""Looks at the sources as ingest reports them, and takes the steps of the alerts about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from services.notifier.domain.findings import Finding
from services.notifier.domain.horizon import Source
from services.notifier.domain.life import Alert, Step
from services.notifier.domain.look import Decided
from services.notifier.domain.ports import AccountTables, AlertTables, PeopleTables, RuleTables, Taking
from services.notifier.domain.rules import SOURCE_RULE, RuleVersion
from services.notifier.domain.sources import evaluate, look_at, subject_id, told, vouched
from services.notifier.domain.thresholds import SourceSilent
from services.runtime.faults import Fault, judge
from services.runtime.postgres import acquire, transaction
from services.runtime.telemetry import Telemetry

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SourceWatch:
    """Several replicas may look at once: each source is locked like an account, and judged again under its lock."""

    pool: asyncpg.Pool
    accounts: AccountTables
    alerts: AlertTables
    taking: Taking
    people: PeopleTables
    rules: RuleTables
    zone: ZoneInfo
    telemetry: Telemetry

    async def look(self, sources: Mapping[str, Source], now: datetime, *, gathering: bool = False) -> int:
        """Bring the alerts about all sources in line with what ingest says now; return how many steps were taken.

        A source that is not configured any more loses its alert. `gathering`: mails are held until all is caught up.
        """
        async with acquire(self.pool) as connection:
            versions = await self.rules.current(connection)
            known = {alert.source: alert for alert in await self.alerts.about_sources(connection)}
        version = versions[SOURCE_RULE]
        taken = 0
        for name in sorted({*sources, *(name for name in known if name is not None)}):
            try:
                taken += await self._look_at(
                    name, sources.get(name), known.get(name), version, now, gathering=gathering
                )
            except Exception as error:
                if judge(error) is Fault.TRANSIENT:
                    raise
                # What one source cannot bear stops neither the others nor the looks at accounts.
                _log.error("a source cannot be judged", source=name, exc_info=error)
        return taken

    async def vouched(self) -> frozenset[str]:
        """Return the sources of which a person says that their quiet is right."""
        async with acquire(self.pool) as connection:
            return vouched(await self.alerts.about_sources(connection))

    async def _look_at(
        self,
        name: str,
        source: Source | None,
        alert: Alert | None,
        version: RuleVersion,
        now: datetime,
        *,
        gathering: bool,
    ) -> int:
        """Judge one source; return how many steps were taken. `source` None: it is not configured any more."""
        assert isinstance(version.thresholds, SourceSilent)  # noqa: S101 - its own rule's
        finding = None if source is None else evaluate(source, version.thresholds, now, self.zone)
        step, silent = look_at(name, finding, alert, version, now)
        if step is None and silent is None:
            return 0
        return await self._take(name, source, finding, version, now, gathering=gathering)

    async def _take(
        self,
        name: str,
        source: Source | None,
        finding: Finding | None,
        version: RuleVersion,
        now: datetime,
        *,
        gathering: bool,
    ) -> int:
        """Decide again under the lock, and write what follows; return how many steps that was."""
        account_id = subject_id(name)
        with self.telemetry.span("notifier look at a source", source=name) as trace:
            async with transaction(self.pool) as connection:
                watched = (await self.accounts.lock(connection, [account_id]))[account_id]
                alert = _latest((await self.alerts.relevant(connection, [account_id])).get(account_id, ()))
                step, silent = look_at(name, finding, alert, version, now)
                if silent is not None:
                    await self.alerts.save_alerts(connection, [silent])
                if step is None:
                    return 0
                users = await self._told(connection, step, source, now)
                if users:
                    await self.alerts.save_told(connection, account_id, name, users)
                decided = Decided(watched, [(step, users)], trace.traceparent)
                await self.taking.take(connection, [decided], gathering=gathering)
                if step.kind == "resolved":
                    # What waited for the source need not wait until its turn comes.
                    await self.rules.ask_again(connection)
        self.telemetry.metrics.alert_steps.labels(SOURCE_RULE, step.kind).inc()
        _log.info("a step of an alert about a source", source=name, step=step.kind, title=step.alert.title)
        return 1

    async def _told(
        self, connection: asyncpg.Connection, step: Step, source: Source | None, now: datetime
    ) -> tuple[str, ...]:
        if not step.speaks:
            return ()
        users, teams = await self.people.everybody(connection), await self.people.teams(connection)
        return told(step, source, users, teams, now.astimezone(self.zone).date())


def _latest(alerts: Sequence[Alert]) -> Alert | None:
    """Return the alert of the one dedup key that a source has."""
    return alerts[0] if alerts else None
