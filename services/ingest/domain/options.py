"""What sources that are no webhooks may say in sources.toml beside what all sources say."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from services.ingest.domain.identities import normalise_address
from services.ingest.domain.provider import Options


def one_or_more(value: object) -> object:
    """Let a single text stand for a list of one."""
    return (value,) if isinstance(value, str) else value


def _normal(address: str) -> str:
    if normalise_address(address) != address:
        raise ValueError("must be a mail address in lower case")
    return address


Address = Annotated[str, AfterValidator(_normal)]


class MailOptions(Options):
    """A mailbox, however its mail comes in."""

    mailbox: Address
    """The address whose mail this is."""
    content: bool = True
    """Whether texts and subjects are kept, or who wrote to whom and when only."""
    internal: bool = False
    """Whether mail among ourselves is kept; it concerns no customer."""
    aliases: tuple[Address, ...] = ()
    """Other addresses of whoever has this mailbox, such as one at a free mail provider."""
    excerpt: Annotated[int, Field(ge=0, le=20_000)] = 20_000
    """How many characters of a text are kept; 0: none, and subjects only."""


class PolledOptions(Options):
    """A source that we ask ourselves."""

    poll_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 60


class ImapOptions(MailOptions, PolledOptions):
    """A mailbox that we read ourselves."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: Annotated[str, Field(min_length=1)]
    password_file: str
    folder: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1)] = ("INBOX",)
    """One folder or a list; sent mail has one of its own."""
    tls: bool = True
    since: date | None = None
    """Mail from before this day is left alone; history enters by import."""
    idle: bool = True
    """Whether to wait for the server's word that something came, where it gives one; else we only ask."""
    compare_seconds: Annotated[float, Field(ge=1, le=7 * 24 * 3600)] = 3600
    """How often a folder is compared whole, even when nothing seems to have happened to it."""
    deleted: Literal["keep", "withdraw"] = "keep"
    """Whether a mail that is deleted is withdrawn. Kept: it was written all the same, and people tidy up."""


class CaldavOptions(PolledOptions):
    """A calendar that we read ourselves."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """The calendar's own address, as its server shows it."""
    username: Annotated[str, Field(min_length=1)]
    password_file: str
    mailbox: Address
    """Whose calendar it is."""
    content: bool = True
    """Whether titles and descriptions are kept, or who met whom and when only."""
    since: date | None = None
    """Meetings from before this day are left alone; without one, those that are over by more than a day."""


class FolderOptions(MailOptions, PolledOptions):
    """Old mail in files: a maildir, or a folder of mbox files."""

    path: Annotated[str, Field(min_length=1)]
    """A maildir (it has `cur` and `new`), an mbox file, or a folder with such files; read only."""


class InboundOptions(Options):
    """One of those who write to `tenure.inbound` themselves."""

    publisher: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The attribute `source` of its CloudEvents. Without one: everybody who has no source of their own here."""
