"""The signed webhook of every provider that we know, against a server that does nothing: a table of ratios."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Origin
from services.ingest.domain.provider import JSON, BoundProvider, Delivery
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.verify import Request, seal
from services.ingest.verify.proof import Stamp
from services.ingest.verify.tokens import mailgun_fields
from tests.bench.doors import CONNECTIONS, NOTHING, all_taken, running_ingest, running_nothing
from tests.bench.figures import CheckFailed, Figure, Measured, Plan, Step, compare, expect
from tests.bench.ground import Ground
from tests.bench.load import saturate
from tests.bench.stream import read_all
from tests.bench.webhooks import request
from tests.unit.ingest.mutations import goldens_once, providers
from tests.unit.ingest.proofs import OLD

_FIRST, _GOAL = 0.30, 0.50
_UNKNOWN_CERTIFICATE = frozenset({SchemeName.SNS})
"""Amazon's certificate cannot be had on a machine without Amazon."""
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9.+=_-]+@")
_LONG = 6
_NEEDED: Mapping[str, Any] = {"mailbox": "anna@brightwell.example", "own_numbers": ["+4930123456"]}


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """Every provider once a round, after the server that does nothing."""
    count = plan.share(15, at_least=200)
    names = [name for name in providers() if WEBHOOKS[name].scheme not in _UNKNOWN_CERTIFICATE]
    secrets = {f"bench-{name}.secret": OLD[WEBHOOKS[name].scheme].shown for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    baseline: list[float] = []
    with running_ingest(ground, tables(names), secrets) as ingest, running_nothing(ground) as nothing:
        for number in range(plan.rounds):
            step(f"nothing, round {number + 1} of {plan.rounds}")
            answer = ground.apart(
                "tests.bench.providers:as_fast_as_it_goes", port=nothing, name=names[0], first=0, count=4 * count
            )
            baseline.append(float(answer["per_second"]))
            for name in names:
                step(f"{name}, round {number + 1} of {plan.rounds}")
                numbers = {"first": number * count, "count": count}
                answer = ground.apart(
                    "tests.bench.providers:as_fast_as_it_goes", port=ingest.port, name=name, **numbers
                )
                rates[name].append(float(answer["per_second"]))
        step("looking at the topic")
        all_numbers = {"first": 0, "count": plan.rounds * count}
        answer = ground.apart(
            "tests.bench.providers:on_topic", bootstrap=ground.kafka, topic=ingest.topic, names=names, **all_numbers
        )
        for name in names:
            expect(f"distinct reports of {name}", answer[name], answer[f"{name} wanted"])
    return [compare(_figure(name), rates[name], baseline) for name in names]


def _figure(name: str) -> Figure:
    workload = f"one webhook of {name}, until acknowledged"
    if not is_json(name):
        return Figure(f"webhook-{name}", workload + (" (a mail)" if WEBHOOKS[name].large else " (a form)"), NOTHING)
    return Figure(f"webhook-{name}", workload, NOTHING, first=_FIRST, goal=_GOAL)


def is_json(name: str) -> bool:
    """Whether a provider sends JSON that is no mail: for these there is a mark to reach."""
    return not WEBHOOKS[name].large and bool(WEBHOOKS[name].media & JSON)


def tables(names: list[str]) -> str:
    """A source of each provider."""
    lines = []
    for name in names:
        provider = WEBHOOKS[name]
        lines += [f"[sources.bench-{name}]", f'provider = "{name}"', f'secret_files = ["bench-{name}.secret"]']
        if provider.has_system:
            lines.append(f'system = "{name}:bench"')
        options = {**chosen(name).options, **{key: _NEEDED[key] for key in _NEEDED if _is_required(name, key)}}
        lines += [f"{key} = {_toml(value)}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def _is_required(name: str, option: str) -> bool:
    field = WEBHOOKS[name].options.model_fields.get(option)
    return field is not None and field.is_required() and option not in chosen(name).options


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{orjson.dumps(key).decode()} = {_toml(one)}" for key, one in value.items()) + " }"
    return orjson.dumps(value).decode()


# jobs, each in a process of its own


async def as_fast_as_it_goes(*, port: int, name: str, first: int, count: int) -> dict[str, Any]:
    """Answers a second with all connections busy."""
    requests = [one.wire for one in numbered(name, first, count)]
    per_second, answers = await saturate(port, requests, CONNECTIONS)
    all_taken(answers, count)
    return {"per_second": per_second}


async def on_topic(*, bootstrap: str, topic: str, names: list[str], first: int, count: int) -> dict[str, Any]:
    """How many of each provider's reports stand on the topic, and how many should."""
    wanted = {event: name for name in names for one in numbered(name, first, count) for event in one.events}
    found = {dict(record.headers)["ce_id"].decode() async for record in read_all(bootstrap, topic)}
    told: dict[str, Any] = {}
    for name in names:
        told[f"{name} wanted"] = sum(1 for whose in wanted.values() if whose == name)
        told[name] = sum(1 for event, whose in wanted.items() if whose == name and event in found)
    return told


# requests


class Numbered(NamedTuple):
    """A request, and the ids of the events that it must become."""

    wire: bytes
    events: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A golden request that says something, and the id in it that makes it another one."""

    bound: BoundProvider
    golden: dict[str, Any]
    native: str
    options: dict[str, Any]


_MODELS: dict[str, Model] = {}


def numbered(name: str, first: int, count: int) -> Iterator[Numbered]:
    """Requests first … first + count - 1 of a provider: the same golden request about another ticket, order or call."""
    bound = chosen(name).bound
    for one in asked(name, first, count):
        media = one.headers["content-type"]
        head = "".join(f"{key}: {value}\r\n" for key, value in one.headers.items() if key != "content-type")
        wire = request(one.url.removeprefix("http://127.0.0.1"), media, head, one.body)
        yield Numbered(wire, _events(name, bound, one.payload, one.body, one.headers))


def asked(name: str, first: int, count: int) -> Iterator[Request]:
    """The same requests, sealed, with what they say in `payload`."""
    model = chosen(name)
    scheme, golden = model.bound.provider.scheme, model.golden
    path = f"/v1/webhooks/bench-{name}"
    for number in range(first, first + count):
        part = "form" if "form" in golden else "body"
        said = about(golden[part], model.native, fresh(model.native, number))
        media = "application/x-www-form-urlencoded" if part == "form" else "application/json"
        if scheme is SchemeName.MAILGUN:
            proof = mailgun_fields(OLD[scheme].signing, Stamp(int(time.time()), f"{number:050}"))
            said = {**said, **proof} if part == "form" else {**said, "signature": proof}
        body = urlencode(said).encode() if part == "form" else orjson.dumps(said)
        one = Request(f"http://127.0.0.1{path}", {**golden["headers"], "content-type": media}, body, payload=said)
        if scheme is not SchemeName.MAILGUN:
            one = seal(scheme, OLD[scheme].signing, one, identifier=f"msg_{number}")
        yield one


def fresh(native: str, number: int) -> str:
    """Another id of the same kind."""
    if native.isdigit():
        return str(10**9 + number)
    if native.startswith("<"):
        return f"{native[:-1]}.{number}@"
    return f"{native[:-8]}{number:08}"


def chosen(name: str) -> Model:
    """The golden request of a provider that is sent again and again."""
    if name not in _MODELS:
        _MODELS[name] = _choose(name)
    return _MODELS[name]


def _choose(name: str) -> Model:
    provider = WEBHOOKS[name]
    for golden in goldens_once(name):
        options = golden.get("options", {})
        bound = BoundProvider(provider, provider.bind(provider.options.model_validate(options)))
        part = "form" if "form" in golden else "body"
        for native in _natives(golden.get("expected"), golden[part]):
            said = about(golden[part], native, fresh(native, 1))
            body = urlencode(said).encode() if part == "form" else orjson.dumps(said)
            if said != golden[part] and _differ(name, bound, golden, said, body):
                return Model(bound, golden, native, options)
    raise CheckFailed(f"{name} has no golden request that can be told about another ticket, order or call")


def _natives(expected: Any, said: Any) -> Iterator[str]:
    if isinstance(expected, list) and expected:
        native = expected[0]["interaction"]["native_id"]
        # Of an id that is put together, a part may stand in the request.
        yield from [native, *native.replace("/", ":").split(":")]
    # A mail is known by a hash over this and more.
    yield from dict.fromkeys(_MESSAGE_ID.findall(json.dumps(said)))


def about(said: Any, native: str, other: str) -> Any:
    """The same about another id: long ones wherever they stand, short ones where they are the whole value."""
    if isinstance(said, dict):
        return {name: about(member, native, other) for name, member in said.items()}
    if isinstance(said, list):
        return [about(member, native, other) for member in said]
    if isinstance(said, str):
        anywhere = len(native) >= _LONG or native.startswith("<")
        return said.replace(native, other) if anywhere else other if said == native else said
    return int(other) if isinstance(said, int) and not isinstance(said, bool) and str(said) == native else said


def _differ(name: str, bound: BoundProvider, golden: dict[str, Any], said: Any, body: bytes) -> bool:
    try:
        other = _events(name, bound, said, body, golden["headers"])
        same = _events(name, bound, golden.get("form", golden.get("body")), body, golden["headers"])
    except Exception:  # noqa: BLE001 - an id that may not be exchanged here: the next golden request is tried
        return False
    return bool(other) and not set(other) & set(same)


def _events(name: str, bound: BoundProvider, payload: Any, body: bytes, headers: Mapping[str, str]) -> tuple[str, ...]:
    origin = Origin(f"bench-{name}", f"{name}:bench", Directory([], None), datetime.now(UTC))
    mapped = bound.read(Delivery(payload, body, headers), origin)
    return tuple(event.id for event in mapped.events)
