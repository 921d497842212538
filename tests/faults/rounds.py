"""Rounds: a seeded history told to a fresh system, a fault at every step, and after each the checker's verdict."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from deploy.local.processes import LocalFault
from deploy.local.system import Launch
from samples.player import PlayFault
from tests.faults.checker import Checker
from tests.faults.generator import generate
from tests.faults.ground import Ground, drawn_secrets, open_ground
from tests.faults.history import Delivery, Edit, History, Publication, Sizes, Step, Violation
from tests.faults.nemesis import FAULTS
from tests.faults.oracle import expect
from tests.faults.player import Player
from tests.faults.sent import check_deliveries
from tests.faults.strike import Fault, Strike

_SLOW_FROM = 0.4
_PACE = 0.15  # seconds between two actions while the fault is still striking and the load would end before it
_PATIENCE = 180.0
"""Seconds until everything is answered, or drained."""
HOOK_SECRET = "hook.secret"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one step of a history under one fault."""

    seed: int
    step: int
    fault: str
    records: int
    """Reports that were sent, repetitions included."""
    seconds: float
    violations: tuple[Violation, ...]
    trouble: str = ""
    """Why it could not be judged, which is as bad: the system did not come to rest, or the player was refused."""

    @property
    def good(self) -> bool:
        """Nothing to complain about."""
        return not self.violations and not self.trouble


@dataclass
class Tour:
    """One system, one history; `strike` plays its next step under a fault."""

    ground: Ground
    player: Player
    history: History
    chance: Random
    thorough: bool
    patience: float
    verdicts: list[Verdict] = field(default_factory=list)
    _next: int = 0

    @property
    def steps_left(self) -> int:
        """How many steps can still be played."""
        return len(self.history.steps) - self._next

    def begin(self) -> None:
        """The company is entered and its history declared complete; all alerts go to the web hook too."""
        hook = {
            "kind": "webhook",
            "name": "the sink",
            "address": self.ground.sinks.hook_url,
            "secret_file": HOOK_SECRET,
        }
        destination = self.player.post("notifier", "/v1/destinations", hook)["destination_id"]
        self.player.post("notifier", "/v1/routes", {"destination_id": destination})
        self.player.enter_company()
        self.player.declare_complete()
        self.player.wait_until_drained(self.patience)

    def strike(self, name: str, fault: Fault | None = None) -> Verdict:
        """Play the next step while the fault strikes, heal, drain, judge."""
        step = self.history.steps[self._next]
        self._next += 1
        began = time.monotonic()
        trouble = ""
        violations: list[Violation] = []
        try:
            complaints = self._load(step, fault or FAULTS[name])
            self._wait_until_fetched()
            self.player.wait_until_drained(self.patience)
            violations = [_violation(self.history.seed, *complaint) for complaint in complaints]
            violations += Checker(self.ground).check(expect(self.history, self.player.told, step))
            violations += check_deliveries(self.ground, self.history.seed)
        except (PlayFault, LocalFault, RuntimeError) as failure:
            trouble = str(failure)
        verdict = Verdict(
            self.history.seed, step.number, name, _records(step), time.monotonic() - began, tuple(violations), trouble
        )
        self.verdicts.append(verdict)
        return verdict

    def _wait_until_fetched(self) -> None:
        """Mailboxes that are polled may have been looked at before the last mail came; `drained` cannot know of it.

        What came of the mails does not show it: several of them may be reports of one thing under one id.
        """
        deadline = time.monotonic() + self.patience
        while True:
            self.ground.check()
            lying, read = self.ground.mails_lying(), self.ground.mails_read()
            if read >= lying:
                return
            if time.monotonic() > deadline:
                raise PlayFault(f"ingest has read {read} of {lying} mails.\n{self.ground.last_words('ingest')}")
            time.sleep(0.2)

    def _load(self, step: Step, fault: Fault) -> list[tuple[str, str, str, str]]:
        """The step under the fault; raises what went wrong on either side, after everything was healed."""
        loaded, struck, free = threading.Event(), threading.Event(), threading.Event()
        free.set()
        place = 0
        last_edit = max((number for number, action in enumerate(step.actions) if isinstance(action, Edit)), default=-1)
        failures: list[BaseException] = []

        def between(done: int, of: int) -> None:
            nonlocal place
            place = done
            free.wait()
            if done > of * _SLOW_FROM and not struck.is_set():
                struck.wait(_PACE)

        def play() -> None:
            try:
                self.player.play(step, between=between)
            except BaseException as failure:  # noqa: BLE001 - raised again where the round is judged
                failures.append(failure)
            finally:
                loaded.set()

        strike = Strike(
            ground=self.ground,
            chance=self.chance,
            thorough=self.thorough,
            loaded=lambda: not loaded.is_set(),
            only_deliveries=lambda: place > last_edit or loaded.is_set(),
            hold=free.clear,
            go_on=free.set,
        )
        load = threading.Thread(target=play, name="load", daemon=True)
        load.start()
        try:
            fault(strike)
        finally:
            struck.set()
            free.set()
            self.ground.heal()
            while load.is_alive():
                self.ground.check()
                load.join(0.5)
        for failure in failures:
            raise failure
        return strike.complaints


def _violation(seed: int, invariant: str, subject: str, expected: str, found: str) -> Violation:
    return Violation(seed=seed, invariant=invariant, subject=subject, expected=expected, found=found)


def _records(step: Step) -> int:
    return sum(len(action.events) for action in step.actions if isinstance(action, Delivery | Publication))


@contextmanager
def open_tour(
    seed: int,
    size: Sizes,
    *,
    thorough: bool,
    wrapped: Mapping[str, Launch] | None = None,
    patience: float = _PATIENCE,
) -> Iterator[Tour]:
    """A fresh system with the company of the seed's history."""
    history = generate(seed, size)
    secrets = drawn_secrets((*history.secret_files, HOOK_SECRET))
    chance = Random(seed)  # noqa: S311 - replayed
    with (
        open_ground(
            sources_toml=history.sources_toml,
            secret_files=secrets,
            begins_at=history.begins_at,
            chance=chance,
            wrapped=wrapped,
        ) as ground,
        Player(ground, history, secrets, patience=patience) as player,
    ):
        tour = Tour(ground, player, history, chance, thorough, patience)
        tour.begin()
        yield tour


def plan(seed: int, faults: Sequence[str], steps: int) -> list[str]:
    """Which fault strikes at which step: over the seeds each comes as often as any other, in an order of its turn."""
    planned = []
    for place in range(seed * steps, (seed + 1) * steps):
        turn, number = divmod(place, len(faults))
        planned.append(Random(turn).sample(faults, len(faults))[number])  # noqa: S311 - replayed
    return planned


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one history, how often each failpoint was hit, and whether disks could be filled."""

    verdicts: list[Verdict]
    hits: Counter[tuple[str, str, str]]
    small_disks: bool


def run(
    seed: int,
    faults: Sequence[str],
    *,
    size: Sizes = "small",
    thorough: bool = True,
    steps: int | None = None,
    wrapped: Mapping[str, Launch] | None = None,
    patience: float = _PATIENCE,
    report: Callable[[Verdict], None] = lambda _: None,
) -> Played:
    """Play a whole history, or its first `steps`. What is wrong once stays wrong: after a bad verdict no more is."""
    with open_tour(seed, size, thorough=thorough, wrapped=wrapped, patience=patience) as tour:
        for name in plan(seed, faults, min(tour.steps_left, steps or tour.steps_left)):
            verdict = tour.strike(name)
            report(verdict)
            if not verdict.good:
                break
        return Played(tour.verdicts, tour.ground.hits(), tour.ground.small_disks)
