"""Tells a history to a running system, whatever breaks meanwhile, and keeps exactly what the system accepted.

What is not answered, or answered with 5xx, is indeterminate: it is sent again, as it was, until the answer is definite.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol, Self, TypeVar

import httpx2
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from samples.player import FLOW_ORDER, PlayFault
from samples.player import Stage as PlayedStage
from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import sign
from tests.faults.company import csv_of
from tests.faults.history import Action, Delivery, Edit, History, Placed, Publication, Step, Told

T = TypeVar("T")
PATIENCE = 300.0
"""Seconds in which anything must be answered definitely; outages of a round are far shorter."""
_PAUSE = 0.1
_AT_ONCE = 15.0  # seconds for one attempt; a service says within ten that it cannot answer
_FORGED = "whsec_" + "A" * 32
HISTORY_SETTLES = timedelta(minutes=5)
"""After this, rules of accounts whose history was declared complete are awake."""


class Stage(PlayedStage, Protocol):
    """The running system, and the broker's address for those who publish by themselves."""

    @property
    def bootstrap(self) -> str:
        """host:port of Kafka."""
        ...

    @property
    def mailboxes(self) -> Mapping[str, Callable[[bytes], None]]:
        """By source, puts a mail where it will be polled; the other mailboxes push."""
        ...

    @property
    def skewed(self) -> Collection[str]:
        """Services whose real time is wrong: to them every signature and token is of another day."""
        ...

    def last_words(self, part: str) -> str:
        """The end of a part's log."""
        ...


class Player:
    """Plays one history to one system; `told` grows with every definite answer."""

    def __init__(
        self, stage: Stage, history: History, secrets: Mapping[str, str], *, patience: float = PATIENCE
    ) -> None:
        self.stage = stage
        self.history = history
        self.told = Told()
        self.now = history.begins_at
        self._secrets = secrets
        self._patience = patience
        self._client = httpx2.Client(timeout=_AT_ONCE, trust_env=False)
        self._broker = _Broker(lambda: stage.bootstrap)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
        self._broker.close()

    def enter_company(self) -> None:
        """Users, accounts and contacts; every row must go in."""
        for table in ("users", "accounts", "contacts"):
            answer = self._ask(
                "POST",
                "accounts",
                f"/v1/imports/{table}",
                content=csv_of(table, self.history.company),
                headers={"content-type": "text/csv"},
            )
            if answer.status_code != HTTPStatus.OK or answer.json()["rejected"]:
                raise PlayFault(f"{table}.csv was not taken whole: {answer.text[:500]}")

    def declare_complete(self) -> None:
        """The rules of all accounts wake up."""
        answer = self._ask("POST", "accounts", "/v1/history-complete", json={"accounts": "all"})
        if not answer.is_success:
            raise PlayFault(f"history-complete was refused: {answer.text[:300]}")
        self.told.complete_at = self.now

    def step_to(self, step: Step) -> None:
        """Set the clock of all services."""
        self.now = step.moment
        self.stage.set_clock(step.moment)

    def play(self, step: Step, *, between: Callable[[int, int], None] = lambda *_: None) -> None:
        """Do a step; return when all of it was answered definitely, not when it is processed.

        `between(done, of)` is called before each action.
        """
        self.step_to(step)
        for place, action in enumerate(step.actions):
            between(place, len(step.actions))
            self.act(action)

    def act(self, action: Action) -> None:
        """Do one thing until it is answered definitely."""
        if isinstance(action, Delivery):
            self._deliver(action)
        elif isinstance(action, Publication):
            placed = self._until(action.name, lambda: self._broker.send(action), (KafkaError, TimeoutError, OSError))
            self.told.publications.append((action, placed))
        else:
            self._edit(action)

    # ------------------------------------------------------------------------------------------ doors of ingest

    def _deliver(self, delivery: Delivery) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            status, text = self._attempt(delivery)
            self.told.answers[str(status)] = self.told.answers.get(str(status), 0) + 1
            if delivery.refused is None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                self._check_taken(delivery, status, text)
                self.told.deliveries.append(delivery)
                return
            if delivery.refused is not None and status == delivery.refused:
                return
            indeterminate = status == 0 or status >= HTTPStatus.INTERNAL_SERVER_ERROR or self._skewed("ingest", status)
            if not indeterminate and status != HTTPStatus.TOO_MANY_REQUESTS:
                wanted = delivery.refused or "2xx"
                raise PlayFault(f"{delivery.name} to {delivery.path}: {status} instead of {wanted}: {text[:800]}")
            if time.monotonic() > deadline:
                raise PlayFault(f"{delivery.path} does not answer definitely ({status}: {text[:300]}).")
            time.sleep(_PAUSE)

    @staticmethod
    def _check_taken(delivery: Delivery, status: int, text: str) -> None:
        """A batch or an import may be taken in part: what reports was, and one thing that must be refused was not."""
        answer = json.loads(text) if text else {}
        accepted, rejected = answer.get("accepted"), answer.get("rejected") or 0
        refused = rejected if isinstance(rejected, int) else len(rejected)
        if refused != delivery.partly or accepted not in {None, len(delivery.events)}:
            raise PlayFault(f"{delivery.name}: answered {status}, which is not what was sent: {text[:800]}")

    def _attempt(self, delivery: Delivery) -> tuple[int, str]:
        keep = self.stage.mailboxes.get(delivery.source)
        if keep is not None and delivery.events and delivery.path.startswith("/v1/mail/"):
            keep(delivery.body)
            return HTTPStatus.ACCEPTED, ""
        headers = {"content-type": delivery.media, **dict(delivery.headers)}
        if delivery.signature == "bearer":
            headers["authorization"] = f"Bearer {self._token()}"
        else:
            secret = _FORGED if delivery.signature == "forged" else self._secrets[delivery.secret_file or ""]
            scheme = SchemeName.ZENDESK if delivery.signature == "zendesk" else SchemeName.STANDARD_WEBHOOKS
            headers |= sign(scheme, secret, delivery.body, identifier=f"msg_{uuid.uuid4().hex}")
        try:
            answer = self._client.post(
                f"{self.stage.url('ingest')}{delivery.path}", content=delivery.body, headers=headers
            )
        except httpx2.TransportError as error:
            return 0, str(error)
        return answer.status_code, answer.text

    # ------------------------------------------------------------------------------------------ the accounts API

    def _edit(self, edit: Edit) -> None:
        deadline = time.monotonic() + self._patience
        unsure = False
        while True:
            try:
                answer = self._client.request(
                    edit.method,
                    f"{self.stage.url('accounts')}{edit.path}",
                    json=edit.body,
                    headers={"authorization": f"Bearer {self._token()}"},
                )
                status, text = answer.status_code, answer.text
            except httpx2.TransportError as error:
                status, text = 0, str(error)
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES or (unsure and status in edit.done_when):
                self.told.edits.append(edit)
                return
            refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            lasting = refused and not self._skewed("accounts", status)
            if lasting and status not in edit.not_yet:
                raise PlayFault(f"{edit.name}: {edit.method} {edit.path} {edit.body}: {status}: {text[:500]}")
            if time.monotonic() > deadline:
                raise PlayFault(f"{edit.method} {edit.path} is not answered definitely ({status}: {text[:300]}).")
            unsure = unsure or not lasting
            time.sleep(_PAUSE)

    def _ask(self, method: str, service: str, path: str, **request: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self._token()}", **request.pop("headers", {})}

        def once() -> httpx2.Response:
            answer = self._client.request(method, f"{self.stage.url(service)}{path}", headers=headers, **request)
            if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or self._skewed(service, answer.status_code):
                raise httpx2.TransportError(f"{answer.status_code}: {answer.text[:200]}")
            return answer

        return self._until(f"{method} {path}", once, (httpx2.TransportError,))

    def _skewed(self, service: str, status: int) -> bool:
        """Whether an answer only says that a clock is wrong: then the same is sent again, freshly signed."""
        return status == HTTPStatus.UNAUTHORIZED and service in self.stage.skewed

    def get(self, service: str, path: str) -> Any:
        """What an API answers to the operator, who is an administrator too."""
        return self._ask("GET", service, path).json()

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        """What an API answers when something is posted to it; it must be taken."""
        answer = self._ask("POST", service, path, json=body)
        if not answer.is_success:
            raise PlayFault(f"{path} was refused: {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def _token(self) -> str:
        return self.stage.token(self.history.company.operator, ("admin", "operator"))

    def _until(self, what: str, once: Callable[[], T], faults: tuple[type[Exception], ...]) -> T:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return once()
            except faults as fault:
                if time.monotonic() > deadline:
                    raise PlayFault(f"{what}: nobody answers ({fault}).") from fault
            time.sleep(_PAUSE)

    # ------------------------------------------------------------------------------------------ coming to rest

    def wait_until_drained(self, patience: float | None = None) -> None:
        """Return when every service has done all there is to do at this clock, asked in the order of the flow."""
        deadline = time.monotonic() + (patience or self._patience)
        for service in FLOW_ORDER:
            while not self._at_rest(service):
                self.stage.check()
                if time.monotonic() > deadline:
                    said = str(self.flow(service))[:6000]
                    raise PlayFault(f"{service} does not come to rest: {said}\n{self.stage.last_words(service)}")
                time.sleep(_PAUSE)

    def _at_rest(self, service: str) -> bool:
        report = self.flow(service)
        drained = bool(report.get("drained")) and datetime.fromisoformat(report["clock"]) >= self.now
        return drained and not any(_waits(part) for part in report["parts"].values())

    def flow(self, service: str) -> dict[str, Any]:
        """What a service says about its own progress; while it does not answer, only what it says instead."""
        try:
            answer = self._client.get(f"{self.stage.operations_url(service)}/flow")
        except httpx2.TransportError as error:
            return {"no answer": f"{type(error).__name__}: {error}"}
        return dict(answer.json()) if answer.is_success else {"no answer": f"{answer.status_code}: {answer.text}"}


def _waits(part: Mapping[str, Any]) -> bool:
    """Whether a source is broken, or a rule held for one: `drained` does not wait for that; here it ends by itself."""
    sources = [one for one in part.values() if isinstance(one, dict)]
    return bool(part.get("held")) or any(str(one.get("status", "")).startswith("broken") for one in sources)


class _Broker:
    """Publishes by itself, in an event loop of its own; after any fault with a new connection."""

    def __init__(self, bootstrap: Callable[[], str]) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="publications")
        self._thread.start()

    def send(self, publication: Publication) -> Placed:
        """Return where the broker put it; raises KafkaError, TimeoutError or OSError when that is not known."""
        try:
            return self._do(self._send(publication))
        except (KafkaError, TimeoutError, OSError):
            self._drop()
            raise

    def close(self) -> None:
        """Disconnect."""
        self._drop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _send(self, publication: Publication) -> Placed:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap(), acks="all", enable_idempotence=True, request_timeout_ms=5000
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        sent = await self._producer.send_and_wait(
            publication.topic, publication.value, key=publication.key, headers=list(publication.headers)
        )
        return Placed(publication.topic, sent.partition, sent.offset)

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                self._do(producer.stop())
            except (KafkaError, TimeoutError, OSError):
                return

    def _do(self, task: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(task, _AT_ONCE), self._loop).result(_AT_ONCE + 5)
