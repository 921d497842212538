"""Tries a source out from where its network and password are: nothing is taken, published or counted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.envelope import Unreadable
from contracts.topics import INBOUND
from services.ingest.caldav import CalendarFolder
from services.ingest.domain.options import CaldavOptions, FolderOptions, ImapOptions, InboundOptions
from services.ingest.domain.source import Source
from services.ingest.folder_pass import look_into
from services.ingest.imap import ImapSession
from services.ingest.inbound import InboundHandler
from services.ingest.polling import Broken
from services.runtime.consumer import Record

Step = Mapping[str, Any]


class Sample(Protocol):
    """A record as it would lie on `tenure.inbound`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...

    @property
    def value(self) -> str:
        """Its value."""
        ...


Reaches = Callable[[str], Awaitable[bool]]
"""Whether anybody answers at an address."""
_NO_SAMPLE = "send the record that its publisher would put on the topic, as `tenure sources test` does"


@dataclass(frozen=True, slots=True)
class Probes:
    """Tries the sources of one configuration."""

    sources: Mapping[str, Source]
    inbound: InboundHandler
    reaches: Reaches
    last_pass: Callable[[str], Awaitable[Step]]
    """How the last pass of a polled source went; raises the database's faults."""
    reader: Callable[[], str]
    """How the consumer of `tenure.inbound` is."""

    async def __call__(self, name: str, sample: Sample | None) -> Sequence[Step]:
        """Return the steps with their outcomes; raise KeyError for what only a delivery can try."""
        source = self.sources[name]
        options = source.configuration.options
        if isinstance(options, InboundOptions):
            return self._inbound(source, sample)
        if source.configuration.provider == "ses":
            return await probe_topics(getattr(options, "topics", ()), self.reaches)
        if isinstance(options, ImapOptions):
            steps = await asyncio.to_thread(probe_mailbox, options, source.password or "")
        elif isinstance(options, CaldavOptions):
            steps = await probe_calendar(options, source.password or "")
        elif isinstance(options, FolderOptions):
            steps = await asyncio.to_thread(probe_folder, options)
        else:
            raise KeyError(name)
        return [*steps, await self.last_pass(name)]

    def _inbound(self, source: Source, sample: Sample | None) -> Sequence[Step]:
        steps: list[Step] = [{"step": "topic", "outcome": self.reader()}]
        if sample is None:
            return [*steps, {"step": "record", "outcome": "not tried", "why": _NO_SAMPLE}]
        try:
            event = self.inbound.decode(_record(sample)).event
        except Unreadable as bad:
            outcome = "unsigned" if bad.reason == "unsigned" else "not understood"
            return [*steps, {"step": "record", "outcome": outcome, "why": f"{bad.reason}: {bad.detail}"}]
        if event.source != source.name:
            why = f"its publisher is that of the source {event.source}"
            return [*steps, {"step": "record", "outcome": "failed", "why": why}]
        read = {"type": event.TYPE, "id": event.id, "interaction": event.interaction.id}
        return [*steps, {"step": "record", "outcome": "understood", "why": "nothing was published", "events": [read]}]


def _record(sample: Sample) -> Record:
    headers = [(name, value.encode()) for name, value in sample.headers.items()]
    return Record(INBOUND.name, 0, 0, None, sample.value.encode("utf-8", "surrogatepass"), headers)


def probe_mailbox(options: ImapOptions, password: str) -> Sequence[Step]:
    """Connect, log in and look at each folder, reading nothing; the first failure is the last step. Blocking."""
    steps: list[Step] = []
    session = ImapSession(options, password)
    try:
        session.open()
        steps.append({"step": "login", "outcome": f"logged in at {options.host}"})
        for folder in options.folder:
            session.look(folder)
            steps.append({"step": "folder", "outcome": f"{folder} can be read"})
    except Broken as broken:
        steps.append({"step": "folder" if steps else "login", "outcome": "failed", "why": str(broken)})
    finally:
        session.close()
    return steps


async def probe_calendar(options: CaldavOptions, password: str) -> Sequence[Step]:
    """Log in, see that it is a calendar, and count its entries, reading none."""
    steps: list[Step] = []
    calendar = CalendarFolder(options, password)
    try:
        tells = await calendar.state() is not None
        changes = (
            "it tells when something changes" if tells else "it does not tell of changes, so each pass compares all"
        )
        steps.append({"step": "login", "outcome": "logged in; it is a calendar", "why": changes})
        steps.append({"step": "calendar", "outcome": f"{len(await calendar.listed())} entries are there"})
    except Broken as broken:
        steps.append({"step": "calendar" if steps else "login", "outcome": "failed", "why": str(broken)})
    finally:
        await calendar.close()
    return steps


def probe_folder(options: FolderOptions) -> Sequence[Step]:
    """See what is there and whether we may read it. Blocking."""
    try:
        seen = look_into(options.path)
    except Broken as broken:
        return [{"step": "folder", "outcome": "failed", "why": str(broken)}]
    told = f"{seen.mails} mails and {seen.mboxes} mbox files, {seen.size / 1e6:,.1f} MB"
    steps: list[Step] = [{"step": "folder", "outcome": f"readable: {told}"}]
    if seen.unreadable:
        why = f"{seen.unreadable} files cannot be read by the user that ingest runs as; change their owner or mode"
        steps.append({"step": "files", "outcome": "failed", "why": why})
    return steps


async def probe_topics(topics: Sequence[str], reaches: Reaches) -> Sequence[Step]:
    """Say what can be known before Amazon sends something: nobody but Amazon can sign for its topics."""
    steps: list[Step] = [{"step": "topics", "outcome": f"only messages of {', '.join(topics)} are taken"}]
    for host in sorted({f"sns.{topic.split(':')[3]}.{_domain(topic)}" for topic in topics}):
        if await reaches(f"https://{host}/"):
            steps.append({"step": "certificates", "outcome": f"{host} can be reached"})
        else:
            why = f"{host} cannot be reached, so no signature can be checked; let ingest out to its port 443"
            steps.append({"step": "certificates", "outcome": "failed", "why": why})
    why = "Amazon signs with a key of its own: publish a test message there, then look at `tenure sources show`"
    return [*steps, {"step": "proof", "outcome": "not tried", "why": why}]


def _domain(topic: str) -> str:
    """Return the domain of a topic's partition: China's is one of its own."""
    return "amazonaws.com.cn" if topic.startswith("arn:aws-cn:") else "amazonaws.com"
