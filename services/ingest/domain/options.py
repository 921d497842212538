"""What sources that are no webhooks may say in sources.toml beside what all sources say."""

from datetime import date
from typing import Annotated

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


class ImapOptions(MailOptions):
    """A mailbox that we read ourselves."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: Annotated[str, Field(min_length=1)]
    password_file: str
    folder: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ("INBOX",)
    """One folder or a list; sent mail has one of its own."""
    poll_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 60
    tls: bool = True
    since: date | None = None
    """Mail from before this day is left alone; history enters by import."""
