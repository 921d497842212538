"""A source as configured: what its table in sources.toml says, and its keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.ingest.domain.options import CaldavOptions, MailOptions, PolledOptions
from services.ingest.domain.provider import Options
from services.ingest.domain.schemes import SchemeName


@dataclass(frozen=True, slots=True)
class SourceConfiguration:
    """One `[sources.<name>]` of the file."""

    provider: str
    system: str | None
    secret_files: tuple[str, ...]
    options: Options
    scheme: SchemeName | None
    """How deliveries prove themselves; None: otherwise, or not at all."""
    responsible: tuple[str, ...] = ()
    """Who is told when it is down or quiet: users' ids, `team:<name>`, `operators`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source with its keys read."""

    name: str
    configuration: SourceConfiguration
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def system(self) -> str:
        """The source system; a mailbox has none of its own."""
        return self.configuration.system or "mail"

    @property
    def polled(self) -> bool:
        """Whether we ask it ourselves."""
        return isinstance(self.configuration.options, PolledOptions)

    @property
    def mail(self) -> MailOptions | None:
        """What a mailbox says about itself; None for what is none."""
        options = self.configuration.options
        return options if isinstance(options, MailOptions) else None


def own_addresses(sources: Mapping[str, Source]) -> frozenset[str]:
    """Return the addresses of all mailboxes of ours; some lie under domains that are not ours."""
    mailboxes = [source.mail for source in sources.values() if source.mail is not None]
    addresses = {address for mailbox in mailboxes for address in (mailbox.mailbox, *mailbox.aliases)}
    options = (source.configuration.options for source in sources.values())
    return frozenset(addresses | {one.mailbox for one in options if isinstance(one, CaldavOptions)})
