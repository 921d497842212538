"""From a seed to a history: storylines, corrected, repeated, shuffled and late, with edits and poison in between."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from contracts.codec import encode
from contracts.values import Kind
from tests.faults.company import SECRET_FILES, draw_company, sources_toml, strangers
from tests.faults.drafts import (
    Draft,
    Route,
    desk_body,
    desk_event_of,
    event_of,
    inbound_record,
    interaction_record,
    item_of,
    mail_event_of,
    micros,
    raw_mail,
)
from tests.faults.edits import Office
from tests.faults.history import Action, Company, Delivery, Edit, History, Publication, Sizes, Step
from tests.faults.poison import (
    poison_inbound,
    poison_interactions,
    poison_internal,
    refused_requests,
    unacceptable,
)
from tests.faults.scene import Scene
from tests.faults.storylines import STORYLINES, lifecycle

BEGINS_AT = datetime(2026, 3, 2, 7, tzinfo=UTC)
HISTORY_FROM = datetime(2025, 1, 20, tzinfo=UTC)
AHEAD = timedelta(hours=20)
"""How far a report may lie in the future of the clock that receives it; a day is the limit."""
REPEATED = 0.3
"""Of all that is sent, what was sent before."""
SPOILT = 0.15
"""Of batches and imports, those that hold something unacceptable too."""
REPORTS: dict[Sizes, int] = {"small": 300, "medium": 700, "large": 4000}
_STEPS: dict[Sizes, int] = {"small": 6, "medium": 24, "large": 30}
_IMPORTED = 0.45
_TOUCHES = frozenset({"mail", "call", "meeting", "chat", "comment"})
_SEVERAL = frozenset({"mail", "call", "meeting", "chat", "note", "programme", "contact"})


def generate(seed: int, size: Sizes = "small") -> History:
    """Return the history of `seed`: always the same."""
    return _Generation(seed, size).history()


class _Generation:
    def __init__(self, seed: int, size: Sizes) -> None:
        self.seed, self.size = seed, size
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose
        self.company: Company = draw_company(self.random, size)
        self.strangers = strangers(size)
        self.moments = self._moments()
        self.taken: set[datetime] = set()
        self.names = 0

    def history(self) -> History:
        """Draw everything and put it in order."""
        drafts = list(self._drafts())
        told: list[list[Action]] = [[] for _ in self.moments]
        for number, those in enumerate(self._scheduled(drafts)):
            told[number] += self._sent(those, self.moments[number])
        first_told = self._first_told(told)
        office = Office(self.random, self.company, self.strangers)
        steps = []
        for number, at in enumerate(self.moments):
            actions = [*told[number], *self._troubles(drafts, at)]
            self.random.shuffle(actions)
            if number:
                self._put_edits(actions, office, at, first_told, number)
            steps.append(Step(number=number, moment=at, actions=tuple(actions)))
        return History(
            seed=self.seed,
            size=self.size,
            company=self.company,
            begins_at=BEGINS_AT,
            steps=tuple(steps),
            sources_toml=sources_toml(self.company),
            secret_files=SECRET_FILES,
        )

    def _moments(self) -> list[datetime]:
        moments = [BEGINS_AT]
        while len(moments) < _STEPS[self.size]:
            moments.append(moments[-1] + timedelta(minutes=self.random.randint(6 * 60, 40 * 60)))
        return moments

    # ------------------------------------------------------------------------------------------ what happened

    def _drafts(self) -> Iterator[Draft]:
        stories, weights = zip(*STORYLINES, strict=True)
        count = number = 0
        while count < REPORTS[self.size] * (1 - REPEATED):
            # Every family once, then as often as it weighs.
            story = stories[number] if number < len(stories) else self.random.choices(stories, weights)[0]
            number += 1
            scene = Scene(
                self.random, self.company, self.strangers, number, self._begin(), self._route(), taken=self.taken
            )
            drafts = [draft for draft in story(scene) if draft.at <= self.moments[-1] + AHEAD]
            drafts += list(self._corrected(drafts))
            drafts += list(self._taken_back(scene, drafts))
            count += len(drafts)
            yield from drafts

    def _begin(self) -> datetime:
        if self.random.random() < 0.5:
            span = BEGINS_AT - HISTORY_FROM
            return HISTORY_FROM + timedelta(seconds=int(span.total_seconds() * self.random.random()))
        span = self.moments[-1] - BEGINS_AT + timedelta(days=6)
        return BEGINS_AT - timedelta(days=6) + timedelta(seconds=int(span.total_seconds() * self.random.random()))

    def _route(self) -> Route:
        return self.random.choices(("hub", "branch", "inbound"), (60, 15, 25))[0]

    def _corrected(self, drafts: Sequence[Draft]) -> Iterator[Draft]:
        """The same reports with another content: greater revisions, lower ones, some that tie but for the digest."""
        for draft in drafts:
            if self.random.random() >= 0.12 or "private" in draft.data:
                continue
            data = {**draft.data, "title": f"Corrected {self.random.randint(1, 99)}"}
            if draft.route in {"mail", "desk"}:
                if data.get("automatic") is None and "reason" not in data:
                    yield draft.changed(data=data)
                continue
            if "net" in data:
                data["net"] = {**data["net"], "amount": f"{self.random.randint(50, 9000)}.00"}
            at = draft.at
            if draft.kind != "mail" and self.random.random() < 0.3:
                at = min(at + timedelta(minutes=self.random.randint(1, 90)), self.moments[-1] + AHEAD)
            shift = self.random.choice((-1_000_000, 0, 1_000_000, 2_000_000))
            yield draft.changed(data=data, at=at, sequence=micros(draft.at) + shift)

    def _taken_back(self, scene: Scene, drafts: Sequence[Draft]) -> Iterator[Draft]:
        if not drafts or self.random.random() >= 0.1:
            return
        of = self.random.choice(drafts)
        at = scene.moment(5)
        if at > self.moments[-1] + AHEAD:
            return
        gone = lifecycle(of, at, restored=False)
        yield gone
        chance = self.random.random()
        if chance < 0.35:
            yield lifecycle(of, at + timedelta(seconds=1), restored=True)
        elif chance < 0.5:
            # An older restoration, told late: it changes nothing.
            yield lifecycle(of, at - timedelta(seconds=1), restored=True)

    # ------------------------------------------------------------------------------------------ when it is told

    def _scheduled(self, drafts: Iterable[Draft]) -> list[list[Draft]]:
        by_step: list[list[Draft]] = [[] for _ in self.moments]
        for draft in drafts:
            first = next(number for number, moment in enumerate(self.moments) if draft.at <= moment + AHEAD)
            last = len(self.moments) - 1
            # Most come at once, some days later.
            late = self.random.choice((0, 0, 0, 1, 1, 2, 5, 20))
            told_in = min(first + late, last)
            by_step[told_in].append(draft)
            while self.random.random() < REPEATED:
                by_step[self.random.randint(told_in, last)].append(draft)
        for those in by_step:
            self.random.shuffle(those)
        return by_step

    def _name(self, word: str) -> str:
        self.names += 1
        return f"{word}{self.names}"

    def _sent(self, drafts: Sequence[Draft], at: datetime) -> Iterator[Action]:
        """The requests and records that tell `drafts`."""
        live: dict[str, list[Draft]] = {"hub": [], "branch": []}
        imported: list[Draft] = []
        for draft in drafts:
            if draft.route == "mail":
                yield self._mail(draft)
            elif draft.route == "desk":
                yield self._desk(draft)
            elif draft.route == "inbound":
                value, headers = inbound_record(draft, binary=self.random.random() < 0.5)
                name = self._name("inbound")
                event = event_of(draft, source="erp")
                yield Publication(
                    name=name, topic="tenure.inbound", key=None, value=value, headers=headers, events=(event,)
                )
            elif draft.at < BEGINS_AT and self.random.random() < _IMPORTED:
                imported.append(draft)
            elif self.random.random() < 0.04:
                yield self._from_a_newer_ingest(draft, at)
            else:
                live[draft.route].append(draft)
        for source, those in live.items():
            for batch in self._batches(those, 20):
                yield self._events(source, batch)
        for batch in self._batches(imported, 80):
            yield self._import(batch)

    def _batches(self, drafts: Sequence[Draft], most: int) -> Iterator[Sequence[Draft]]:
        place = 0
        while place < len(drafts):
            size = 1 if self.random.random() < 0.4 else self.random.randint(2, most)
            yield drafts[place : place + size]
            place += size

    def _events(self, source: str, drafts: Sequence[Draft]) -> Delivery:
        items = [item_of(draft) for draft in drafts]
        single = len(items) == 1
        partly = not single and self.random.random() < SPOILT
        if partly:
            items.insert(self.random.randint(0, len(items)), unacceptable(self.random, items[0]))
        return Delivery(
            name=self._name(source),
            source=source,
            path="/v1/events",
            media="application/cloudevents+json" if single else "application/cloudevents-batch+json",
            body=json.dumps(items[0] if single else items).encode(),
            signature="standard",
            secret_file=f"{source}.secret",
            events=tuple(event_of(draft, source=source) for draft in drafts),
            partly=partly,
        )

    def _import(self, drafts: Sequence[Draft]) -> Delivery:
        lines = [json.dumps(item_of(draft, imported=True)).encode() for draft in drafts]
        partly = self.random.random() < SPOILT
        if partly:
            wrong = unacceptable(self.random, item_of(drafts[0], imported=True))
            lines.insert(self.random.randint(0, len(lines)), json.dumps(wrong).encode())
        return Delivery(
            name=self._name("import"),
            source="history",
            path="/v1/imports/history",
            media="application/x-ndjson",
            body=b"\n".join(lines) + b"\n",
            signature="bearer",
            events=tuple(event_of(draft, source="history", imported=True) for draft in drafts),
            partly=partly,
        )

    def _mail(self, draft: Draft) -> Delivery:
        raw = raw_mail(draft)
        return Delivery(
            name=self._name("mail"),
            source=draft.mailbox_source,
            path=f"/v1/mail/{draft.mailbox_source}",
            media="message/rfc822",
            body=raw,
            signature="standard",
            secret_file="mail.secret",
            events=(mail_event_of(draft, raw, draft.mailbox_source),),
        )

    def _desk(self, draft: Draft) -> Delivery:
        body = desk_body(draft)
        return Delivery(
            name=self._name("desk"),
            source="desk",
            path="/v1/webhooks/desk",
            media="application/json",
            body=body,
            signature="zendesk",
            secret_file="desk.secret",
            events=(desk_event_of(draft, body),),
        )

    def _from_a_newer_ingest(self, draft: Draft, at: datetime) -> Publication:
        """What a later version of ingest would publish: a field more than we know."""
        event = event_of(draft, source=draft.route)
        value = json.dumps({**json.loads(encode(event)), "mood": {"later": True}}).encode()
        return Publication(
            name=self._name("newer"),
            topic="tenure.interactions",
            key=event.interaction.id.encode(),
            value=value,
            headers=interaction_record(event, at),
            events=(event,),
        )

    # ------------------------------------------------------------------------------------------ what goes wrong

    def _troubles(self, drafts: Sequence[Draft], at: datetime) -> Iterator[Action]:
        hub = [draft for draft in drafts if draft.route == "hub" and draft.at <= at and draft.kind != "mail"]
        if not hub:
            return
        for _ in range(self.random.randint(1, 3)):
            draft = self.random.choice(hub)
            event = event_of(draft, source="hub")
            yield self.random.choice(
                (
                    lambda event=event: poison_interactions(self.random, self._name("poison"), event, at),
                    lambda draft=draft: poison_inbound(
                        self.random, self._name("poison"), {**item_of(draft), "source": "/erp"}
                    ),
                    lambda: poison_internal(self.random, self._name("poison"), at),
                )
            )()
        yield refused_requests(self.random, self._name("refused"), item_of(self.random.choice(hub)))
        if self.random.random() < 0.5:
            yield self._unmapped()

    def _unmapped(self) -> Delivery:
        """A mail of nobody, or a ticket without a number: authentic, and nothing can be said about it."""
        name = self._name("unmapped")
        if self.random.random() < 0.5:
            payload = {"type": "zen:event-type:ticket.created", "token": f"{self.seed}-{name}", "detail": {}}
            return Delivery(
                name=name,
                source="desk",
                path="/v1/webhooks/desk",
                media="application/json",
                body=json.dumps(payload).encode(),
                signature="zendesk",
                secret_file="desk.secret",
                unmapped=True,
            )
        body = f"Subject: nobody wrote this\r\nX-Token: {self.seed}-{name}\r\n\r\nhello\r\n".encode()
        return Delivery(
            name=name,
            source="mail-anna",
            path="/v1/mail/mail-anna",
            media="message/rfc822",
            body=body,
            signature="standard",
            secret_file="mail.secret",
            unmapped=True,
        )

    # ------------------------------------------------------------------------------------------ what people change

    @staticmethod
    def _first_told(told: Sequence[Sequence[Action]]) -> dict[str, tuple[int, str]]:
        """By interaction the step in which it is first told, and its kind."""
        first: dict[str, tuple[int, str]] = {}
        for number, actions in enumerate(told):
            for action in actions:
                for event in () if isinstance(action, Edit) else action.events:
                    if event.KIND is not None:
                        first.setdefault(event.interaction.id, (number, Kind(event.interaction.kind).value))
        return first

    def _put_edits(
        self, actions: list[Action], office: Office, at: datetime, first: dict[str, tuple[int, str]], number: int
    ) -> None:
        """Put edits between the other actions, in the order in which they were drawn."""
        known = sorted((id_, kind) for id_, (step, kind) in first.items() if step < number)
        touches = [id_ for id_, kind in known if kind in _TOUCHES]
        others = [(id_, kind in _SEVERAL) for id_, kind in known]
        drawn = [office.draw(at, touches, others) for _ in range(self.random.randint(3, 7))]
        edits = [edit for edit in drawn if edit is not None]
        places = sorted(self.random.randint(0, len(actions)) for _ in edits)
        for shift, (place, edit) in enumerate(zip(places, edits, strict=True)):
            actions.insert(place + shift, edit)
