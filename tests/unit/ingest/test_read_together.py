"""Deliveries that come in the same turn are read together; nobody can tell by what they become.

`TENURE_FUZZ=10000` sends more damaged deliveries of each provider than the forty of every test run.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from services.ingest.domain.mapping import Mapped, Unmapped
from services.ingest.domain.provider import BoundProvider, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source, SourceConfiguration
from services.ingest.doors import deliveries
from services.ingest.doors.amazon import Amazon
from services.ingest.doors.hot import Answer, Knock, RawAnswer
from services.ingest.doors.webhooks import Webhooks
from services.ingest.publisher import Outgoing, Publisher, TooLarge, Unavailable, Waiting
from services.ingest.reception import Reception
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.statistics import Statistics
from services.ingest.verify import Request, read_key, seal, verify
from services.runtime.clock import RealClock
from services.runtime.problems import Problem
from services.runtime.telemetry import Telemetry
from tests.unit.ingest.golden import DIRECTORY
from tests.unit.ingest.mutations import damaged, damaged_body, golden_body, goldens_once
from tests.unit.ingest.proofs import OLD
from tests.unit.ingest.test_webhook_door import SETTINGS, Outside, provider

DAMAGED = int(os.environ.get("TENURE_FUZZ", "40"))
NAMES = sorted(name for name, known in WEBHOOKS.items() if not known.large and goldens_once(name))
COUNTED = ("accepted", "redelivered", "unmapped", "ignored", "rejected")
HOST = "tenure.example"
OF_THE_MOMENT = frozenset({"ce_recordedtime", "ce_time", "ce_traceparent"})
FORM = "application/x-www-form-urlencoded"


class Kept(Publisher):
    """Has a broker that acknowledges at once, or fails with `error` where a record is one of `wrong`."""

    def __init__(self) -> None:
        super().__init__("nowhere", SETTINGS)
        self.records: list[Outgoing] = []
        self.wrong: Callable[[Outgoing], BaseException | None] = lambda _: None
        self.later = False

    def submit(self, waiting: Waiting, records: Sequence[Outgoing]) -> None:
        """Acknowledge, in the next turn."""
        error = next((found for one in records if (found := self.wrong(one)) is not None), None)
        if error is not None and not self.later:
            raise error
        if error is None:
            self.records += records
        loop = asyncio.get_running_loop()
        waiting.left = 1
        loop.call_soon(waiting.landed, 1) if error is None else loop.call_soon(waiting.fail, error)


class Doors:
    """One source's door, reading together or not, and what came of it."""

    def __init__(self, known: BoundProvider, *, together: bool) -> None:
        scheme = known.provider.scheme
        configuration = SourceConfiguration(known.provider.name, "system:one", (), known.provider.options, scheme)  # type: ignore[arg-type]  # nobody asks
        self.source = Source("one", configuration, (read_key(scheme, OLD[scheme].shown),))
        self.publisher, self.statistics = Kept(), Statistics()
        self.telemetry = Telemetry("ingest", SETTINGS)
        reception = Reception(self.publisher, self.statistics, self.telemetry, RealClock(), DIRECTORY)
        amazon = Amazon(Outside({}))
        self.webhooks = Webhooks(reception, {"one": self.source}, {"one": known}, amazon, None, together=together)

    async def post(self, knock: Knock) -> tuple[int, Any]:
        """Status, and what is said."""
        try:
            answer = await self.webhooks.take("one", knock)
        except Problem as problem:
            return problem.status, problem.body()
        return answer.status, answer.content if isinstance(answer, Answer) else _raw(answer)

    @property
    def published(self) -> list[Any]:
        """The records, without what only their moment gives them, in an order of their own."""
        return sorted((one.key, _timeless(one.value), _lasting(one.headers)) for one in self.publisher.records)

    @property
    def counted(self) -> Any:
        """Everything that is counted, as statistics and as metrics."""
        tallies = {
            name: {field: _plain(getattr(tally, field)) for field in COUNTED}
            for name, tally in self.statistics.take().items()
        }
        kinds = ("tenure_ingest_events_total", "tenure_ingest_rejected_total", "tenure_ingest_redelivered_total")
        lines = self.telemetry.metrics.exposition().decode().splitlines()
        return tallies, sorted(line for line in lines if line.startswith(kinds))


def _plain(counted: int | Mapping[str, int]) -> Any:
    return counted if isinstance(counted, int) else dict(counted)


def _raw(answer: RawAnswer) -> Any:
    return answer.body, answer.media, answer.headers


def _lasting(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [pair for pair in headers if pair[0] not in OF_THE_MOMENT]


def _timeless(value: bytes) -> bytes:
    """What a payload does not date is dated when it comes."""
    return re.sub(rb"20\d\d-\d\d-\d\dT[0-9:.]+Z", b"", value)


def knocks(name: str, chance: random.Random) -> list[Knock]:
    """What a provider sends and what it never would: golden, damaged, unsigned, of another media type."""
    goldens = goldens_once(name)
    found = [knock(name, golden, golden_body(golden)) for golden in goldens]
    for _ in range(DAMAGED):
        golden = chance.choice(goldens)
        found.append(knock(name, golden, _damaged(chance, golden)))
    whole = found[0]
    return [
        *found,
        whole,
        whole._replace(headers=dict.fromkeys(whole.headers, "x") | {"content-type": whole.headers["content-type"]}),
        whole._replace(headers={**whole.headers, "content-type": "text/html"}),
        whole._replace(body=whole.body[:-1]),
        whole._replace(query=b"a=b&a=c"),
    ]


def _damaged(chance: random.Random, golden: dict[str, Any]) -> bytes:
    if chance.random() < 0.3:
        return damaged_body(chance, golden_body(golden))
    if "form" in golden:
        fields = damaged(chance, golden["form"])
        texts = {str(key): str(value) for key, value in fields.items()} if isinstance(fields, dict) else {}
        return urlencode(texts, errors="replace").encode()
    try:
        return orjson.dumps(damaged(chance, golden["body"]))
    except TypeError:
        return b'{"half": "\\ud83d"}'


def knock(name: str, golden: Mapping[str, Any], body: bytes) -> Knock:
    """A genuine request with this body."""
    scheme, path = WEBHOOKS[name].scheme, "/v1/webhooks/one"
    media = FORM if "form" in golden else "application/json"
    headers = {**golden["headers"], "content-type": media, "host": HOST}
    unsealed = Request(f"https://{HOST}{path}", headers, body, payload=_parsed(body))
    try:
        sealed = seal(scheme, OLD[scheme].signing, unsealed, identifier="msg_1")
    except Exception:  # noqa: BLE001 - no provider could have signed this
        return Knock(headers, body, b"", path)
    return Knock(sealed.headers, sealed.body, b"", path)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def bound(name: str) -> BoundProvider:
    """The provider, with the options of its first golden request."""
    known = WEBHOOKS[name]
    return BoundProvider(known, known.bind(known.options.model_validate(goldens_once(name)[0].get("options", {}))))


async def both(known: BoundProvider, sent: Sequence[Knock], prepare: Callable[[Doors], None] | None = None) -> Any:
    """Send the same one by one and all at once; what came of it, which must be the same."""
    single, together = Doors(known, together=False), Doors(known, together=True)
    for doors in (single, together):
        if prepare is not None:
            prepare(doors)
    one_by_one = [await single.post(one) for one in sent]
    at_once = await asyncio.gather(*(together.post(one) for one in sent))
    assert list(at_once) == one_by_one
    assert together.published == single.published
    counted = single.counted
    assert together.counted == counted
    return one_by_one, counted


@pytest.mark.parametrize("name", NAMES)
async def test_whatever_a_provider_sends_becomes_the_same_alone_and_among_others(name: str) -> None:
    sent = knocks(name, random.Random(name))  # noqa: S311 - the same in every run
    answers, _ = await both(bound(name), sent)
    assert 200 in {status for status, _ in answers[: len(goldens_once(name))]}
    assert 401 in {status for status, _ in answers}
    kept = [content for _, content in answers if isinstance(content, dict) and "unmapped" in content]
    assert len({content["unmapped"] for content in kept}) > 1


@pytest.mark.parametrize("name", NAMES)
async def test_what_becomes_events_is_read_once_and_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(deliveries, "verify", _noting(seen, verify))
    doors, golden = Doors(bound(name), together=True), goldens_once(name)
    sent = [knock(name, one, golden_body(one)) for one in golden]
    answers = await asyncio.gather(*(doors.post(one) for one in sent))
    assert any(content.get("accepted") for _, content in answers if isinstance(content, dict))
    assert len(seen) == len(sent) - sum(1 for _, content in answers if isinstance(content, tuple))


def _noting(seen: list[str], check: Any) -> Any:
    def noted(*args: Any, **more: Any) -> Any:
        seen.append("verified")
        return check(*args, **more)

    return noted


SIGNED = seal(
    SchemeName.SHOPIFY, OLD[SchemeName.SHOPIFY].signing, Request("", {"content-type": "application/json"}, b"{}")
)
MADE_UP = Knock(SIGNED.headers, SIGNED.body)


def broken(_delivery: Any, _origin: Any, _options: Any, *, error: Exception) -> Mapped:
    """Maps nothing."""
    raise error


@pytest.mark.parametrize(
    ("error", "code"), [(Unmapped("odd"), "odd"), (KeyError("secret"), "mapping_broke"), (TypeError(), "mapping_broke")]
)
async def test_what_a_mapping_does_not_understand_is_kept_raw_on_both_ways(error: Exception, code: str) -> None:
    known: Provider[Any] = replace(provider(SchemeName.SHOPIFY), read=partial(broken, error=error))
    answers, (tallies, _) = await both(BoundProvider(known, known.bind(known.options())), [MADE_UP] * 3)
    assert answers == [(200, {"accepted": 0, "unmapped": code})] * 3
    assert tallies["one"]["unmapped"] == 3


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [Unavailable, TooLarge])
async def test_what_the_broker_does_not_take_is_answered_alike(error: type[Exception], later: bool) -> None:  # noqa: FBT001
    name = "shopify"
    sent = [knock(name, one, golden_body(one)) for one in goldens_once(name)]

    def prepare(doors: Doors) -> None:
        doors.publisher.later = later
        # What is kept raw is another record, which the broker takes.
        doors.publisher.wrong = lambda one: None if any(key == "tenure_unmapped" for key, _ in one.headers) else error()

    answers, (tallies, _) = await both(bound(name), sent, prepare)
    said = [content for _, content in answers]
    if error is TooLarge:
        assert {"accepted": 0, "unmapped": "too_large"} in said
        assert tallies["one"]["unmapped"] == said.count({"accepted": 0, "unmapped": "too_large"})
    else:
        assert 503 in {status for status, _ in answers}
        assert tallies["one"]["rejected"]["unavailable"] == [status for status, _ in answers].count(503)


async def test_who_has_gone_is_not_read_and_holds_nobody_up() -> None:
    name = "shopify"
    doors = Doors(bound(name), together=True)
    sent = [knock(name, one, golden_body(one)) for one in goldens_once(name)]
    going = [asyncio.ensure_future(doors.post(one)) for one in sent]
    await asyncio.sleep(0)
    going[0].cancel()
    answers = await asyncio.gather(*going, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(one, tuple) and one[0] == 200 for one in answers[1:])
