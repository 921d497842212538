"""The poller: looks at what is due by the clock, asks the horizon before a silence speaks, and takes the steps."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from contracts.alerts import RuleName
from contracts.envelope import format_instant
from services.notifier.domain.horizon import Horizons, Known, Unknown, known_up_to
from services.notifier.domain.life import Alert, Step
from services.notifier.domain.look import Decided, Look, look
from services.notifier.domain.ports import AccountTables, AlertTables, RuleTables, Taking
from services.notifier.domain.recipients import told_users
from services.notifier.domain.rules import RULES, RuleVersion
from services.notifier.domain.state import AT_ONCE, Due, Surroundings, Watched
from services.notifier.domain.view import AccountView
from services.notifier.lookout import Lookout, Sight
from services.notifier.sourcewatch import SourceWatch
from services.runtime.backoff import Backoff, pause
from services.runtime.clock import Clock, RealClock
from services.runtime.faults import Fault, judge
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.postgres import acquire, savepoint, transaction
from services.runtime.telemetry import Telemetry

_ALL: tuple[RuleName, ...] = tuple(RULES)
_SILENT: tuple[RuleName, ...] = tuple(name for name, rule in RULES.items() if rule.silence)
_SIGNALS: tuple[RuleName, ...] = tuple(name for name, rule in RULES.items() if not rule.silence)
_CHUNK = 50
_IDLE_SECONDS = 0.5
_ASK_AGAIN = {"service": timedelta(seconds=0.5), "source": timedelta(seconds=2), "broken": timedelta(seconds=15)}
"""Real time until a held silence asks the horizon again."""
_REAL_SLACK = timedelta(seconds=5)
_STANDING_SECONDS = 0.25
"""Real time for which a stepped clock stands before a silence speaks: what happens at a reading comes after it."""
_BRIEFS_KEPT = timedelta(days=400)
_log = structlog.get_logger(__name__)


class Poller:
    """Runs beside the consumer. Several replicas share the work: accounts that one holds, the others skip."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        accounts: AccountTables,
        rules: RuleTables,
        alerts: AlertTables,
        taking: Taking,
        lookout: Lookout,
        sources: SourceWatch,
        clock: Clock,
        zone: ZoneInfo,
        telemetry: Telemetry,
        wake: asyncio.Event,
        spoke: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._accounts = accounts
        self._rules = rules
        self._alerts = alerts
        self._taking = taking
        self._lookout = lookout
        self._source_watch = sources
        self._clock = clock
        self._zone = zone
        self._telemetry = telemetry
        self._spoke = spoke
        self._wake = wake
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._passed: datetime | None = None
        self._passed_at = time.monotonic()
        self._reading: tuple[datetime, float] | None = None
        self._absent: dict[str, str] | None = None
        self._prepared = False
        self._tidied: datetime | None = None
        self.status = "waiting: not started"

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = lasting(self._run(), name="poller")

    async def stop(self) -> None:
        """Finish the running chunk."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def flow(self, now: datetime) -> Part:
        """Say whether everything due at `now` was looked at; a hold that will end by itself counts as work left."""
        async with acquire(self._pool) as connection:
            counts = await self._rules.due_counts(connection, now, _ALL)
            held = await self._rules.held(connection)
        # A simulated clock stands still between steps, a real one never does.
        slack = _REAL_SLACK if isinstance(self._clock, RealClock) else timedelta()
        passed = self._passed is not None and self._passed >= now - slack
        if not passed:
            # Who asks waits for it.
            self._wake.set()
        details: dict[str, Any] = {
            "status": self.status,
            "last_pass": format_instant(self._passed) if self._passed else None,
            "due": counts["due"],
            "held": [{"by": row["held_by"], "why": row["held_why"], "looks": row["looks"]} for row in held],
            "catching_up": self._absent,
        }
        idle = counts["due"] == 0 and counts["waiting"] == 0 and self._absent is None
        return Part(drained=passed and idle, details=details)

    def ready(self, stall_after: float) -> bool:
        """Say whether rules are being looked at; `status` says why not."""
        return self.status.startswith("running") and time.monotonic() - self._passed_at < stall_after

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            self._wake.clear()
            try:
                await self.run_pass()
                self._passed_at = time.monotonic()
                since = self._absent
                self.status = f"running: catching up since {since['since']}, {since['why']}" if since else "running"
                backoff.reset()
                wait = _IDLE_SECONDS
            except Exception as error:  # noqa: BLE001 - the poller outlives every fault; what is due stays due
                wait = backoff.next()
                self.status = f"waiting: {type(error).__name__}: {error}"[:300]
                ours = judge(error) is not Fault.TRANSIENT
                # What is away is away: the place in our code says nothing about it.
                _log.warning("looking at rules failed", error=self.status, ours=ours, exc_info=error if ours else None)
            await pause(self._wake, wait)

    async def run_pass(self) -> None:
        """Look at everything that is due now; while something is being caught up only at what may speak already."""
        now, asked_at = self._clock.now(), datetime.now(UTC)
        if not self._prepared:
            await self._prepare()
        async with acquire(self._pool) as connection:
            asking = await self._rules.any_due(connection, _SILENT, now, asked_at)
        if asking:
            await self._stands(now)
        # Asked before the state is read: what the services had passed on by then is in the state.
        sight = await self._lookout.look(now, asking=asking)
        watch = sight.watch
        self._absent = (
            {"since": format_instant(watch.absent_since), "why": watch.why or ""} if watch.absent_since else None
        )
        if watch.absent_since is None:
            vouched = await self._look_at_sources(sight.horizons, now)
            await self._look_at(_Pass(now, asked_at, sight.horizons, _ALL, vouched=vouched, present=True))
        elif sight.complete:
            await self._catch_up(sight, now, asked_at)
        elif sight.signals_flow:
            await self._lookout.let_go(_SIGNALS)
            await self._look_at(_Pass(now, asked_at, sight.horizons, _SIGNALS))
        await self._tidy(now)
        self._passed = now

    async def _prepare(self) -> None:
        """Give rules that came with this version their first thresholds, and every account a look at them."""
        async with transaction(self._pool) as connection:
            await self._rules.prepare(connection)
        self._prepared = True

    async def _stands(self, now: datetime) -> None:
        if isinstance(self._clock, RealClock):
            return
        if self._reading is None or self._reading[0] != now:
            self._reading = (now, time.monotonic())
        await asyncio.sleep(max(0.0, self._reading[1] + _STANDING_SECONDS - time.monotonic()))

    async def _catch_up(self, sight: Sight, now: datetime, asked_at: datetime) -> None:
        """Everything is here: judge all that is due, hold what people are told until then, and let go what is left."""
        async with self._lookout.claim() as watch:
            if watch is None or watch.absent_since is None:
                return
            # What was held is asked about at once: otherwise it would come after the message that gathers everything.
            async with acquire(self._pool) as connection:
                await self._rules.ask_again(connection)
            vouched = await self._look_at_sources(sight.horizons, now, gathering=True)
            await self._look_at(_Pass(now, asked_at, sight.horizons, _ALL, gathering=True, vouched=vouched))
            if not self._stopping:
                await self._lookout.release(watch, now)
                self._absent = None
        self._spoke()

    async def _look_at_sources(self, horizons: Horizons, now: datetime, *, gathering: bool = False) -> frozenset[str]:
        """Judge the sources where ingest was asked and answered; return those whose quiet a person calls right."""
        if horizons.sources is None:
            return frozenset()
        if not horizons.ourselves_past(now - _REAL_SLACK):
            # Who answers for a source may not be known here yet.
            return await self._source_watch.vouched()
        if await self._source_watch.look(horizons.sources, now, gathering=gathering):
            self._spoke()
        return await self._source_watch.vouched()

    async def _look_at(self, this: "_Pass") -> None:
        while not self._stopping and await self._chunk(this):
            pass

    async def _chunk(self, this: "_Pass") -> bool:
        """Look at some of what is due; return whether there may be more."""
        async with transaction(self._pool) as connection:
            # Before a release nothing may be passed over: what is found later would be told beside the one message.
            watched = await self._accounts.lock_due(
                connection, this.now, this.asked_at, _CHUNK, this.rules, patient=this.gathering
            )
            if not watched or (this.present and await self._lookout.is_away(connection)):
                return False
            due = await self._rules.due_rules(connection, list(watched), this.now, this.asked_at, this.rules)
            versions = await self._rules.current(connection)
            around = await self._accounts.surroundings(connection, watched.values(), this.now, evidence=True)
            done = await self._guarded(
                connection,
                [
                    _Present(watched[key], [versions[name] for name in names], around, this)
                    for key, names in due.items()
                ],
            )
        for step in done.steps:
            self._telemetry.metrics.alert_steps.labels(step.alert.rule, step.kind).inc()
        if done.delivered:
            self._spoke()
        looks = sum(map(len, due.values()))
        # What is patient may have waited for somebody who did all of it.
        return looks >= _CHUNK or done.again or (this.gathering and looks < len(watched))

    async def _guarded(self, connection: asyncpg.Connection, accounts: Sequence["_Present"]) -> "_Done":
        """Look at accounts under a savepoint: what one account cannot bear stops no other, and is shown as held."""
        try:
            async with savepoint(connection):
                return await self._look_and_take(connection, accounts)
        except Exception as error:
            if judge(error) is Fault.TRANSIENT:
                raise
            if len(accounts) > 1:
                # Who it is comes out when each is looked at alone.
                parts = [await self._guarded(connection, [one]) for one in accounts]
                return _Done(
                    [step for part in parts for step in part.steps],
                    sum(part.delivered for part in parts),
                    again=any(part.again for part in parts),
                )
            account_id = accounts[0].watched.account_id
            _log.error("a rule failed on an account", account=account_id, exc_info=error)
            failed = Look(held=Unknown("broken", f"the rule failed with {type(error).__name__}; see the log"))
            await self._rules.save_due(connection, [_due(account_id, one.rule, failed) for one in accounts[0].versions])
            return _Done([], 0, again=False)

    async def _look_and_take(self, connection: asyncpg.Connection, accounts: Sequence["_Present"]) -> "_Done":
        """Look at due rules of locked accounts and take the steps, of all accounts together."""
        decided: list[Decided] = []
        silent: list[Alert] = []
        looks: list[Due] = []
        for number, present in enumerate(accounts):
            if number:
                await asyncio.sleep(0)
            one, unsaid, its_looks = self._decide(present)
            decided.append(one)
            silent += unsaid
            looks += its_looks
        await self._alerts.save_alerts(connection, silent)
        delivered = await self._taking.take(connection, decided, gathering=accounts[0].this.gathering)
        await self._rules.save_due(connection, looks)
        this = accounts[0].this
        return _Done(
            [step for one in decided for step, _ in one.steps],
            delivered,
            again=any(look.is_due(this.now, this.asked_at) for look in looks),
        )

    def _decide(self, present: "_Present") -> tuple[Decided, list[Alert], list[Due]]:
        """Look at due rules of one locked account; return its steps, alerts to keep silently, when to look again."""
        watched, around, now = present.watched, present.around, present.this.now
        horizons = present.this.horizons
        account_id = watched.account_id
        steps: list[tuple[Step, tuple[str, ...]]] = []
        silent: list[Alert] = []
        looks: list[Due] = []
        with self._telemetry.span("notifier look", parent=watched.traceparent) as trace:
            view = _view(watched, around, self._zone)
            sources = self._sources(view, around, present.this)

            def ask(deadline: datetime) -> Known | Unknown:
                return known_up_to(deadline, sources, horizons, self._zone, present.this.vouched)

            caught_up = view.kpis is None or horizons.ourselves_past(view.kpis.computed_at)
            for version in present.versions:
                alerts = [alert for alert in around.alerts.get(account_id, ()) if alert.rule == version.rule]
                found = look(view, version, alerts, now, ask=ask, caught_up=caught_up)
                silent += found.silent
                steps += [(step, told_users(step, view, around.teams, now)) for step in found.steps]
                looks.append(_due(account_id, version.rule, found))
        return Decided(watched, steps, trace.traceparent), silent, looks

    @staticmethod
    def _sources(view: AccountView, around: Surroundings, this: "_Pass") -> set[str]:
        """Return what feeds the account: mailboxes and phones of owner and team, and what delivered for it lately.

        A mailbox of somebody who has left us counts for as long as it is configured.
        """
        people = (around.users[user] for user in view.team_ids(this.now) if user in around.users)
        configured = this.horizons.sources or {}
        own = {name for person in people for name in person.mailboxes if person.active or name in configured}
        return own | set(around.sources.get(view.account.account_id, ()))

    async def _tidy(self, now: datetime) -> None:
        if self._tidied is not None and now - self._tidied < timedelta(days=1):
            return
        async with acquire(self._pool) as connection:
            await self._accounts.forget_old_briefs(connection, now - _BRIEFS_KEPT)
        self._tidied = now


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass: at which reading of the clock, at which real time, with what known, over which rules."""

    now: datetime
    asked_at: datetime
    horizons: Horizons
    rules: Sequence[RuleName]
    gathering: bool = False
    """Mails wait until the pass is over."""
    vouched: frozenset[str] = frozenset()
    """Sources of which a person says that their quiet is right."""
    present: bool = False
    """Nothing was being caught up when it began; what has been found to be late since then waits for the next pass."""


@dataclass(frozen=True, slots=True)
class _Present:
    """One locked account with its due rules and everything that they need."""

    watched: Watched
    versions: list[RuleVersion]
    around: Surroundings
    this: _Pass


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of looking: the steps, how much of them is delivered, whether something is due again already."""

    steps: list[Step]
    delivered: int
    again: bool


def _view(watched: Watched, surroundings: Surroundings, zone: ZoneInfo) -> AccountView:
    assert watched.account is not None  # noqa: S101 - the caller skips accounts that have not come
    return AccountView(
        watched.account,
        zone,
        watched.kpis,
        surroundings.users,
        tuple(surroundings.signals.get(watched.account_id, ())),
        surroundings.briefs.get(watched.account_id, {}),
    )


def _due(account_id: str, rule: RuleName, found: Look) -> Due:
    if found.held is None:
        return Due(account_id, rule, found.due)
    # The due time stays in the past: it is asked about again in real time, until the horizon has come.
    again = datetime.now(UTC) + _ASK_AGAIN[found.held.by]
    return Due(account_id, rule, AT_ONCE, found.held.by, found.held.why, again)
