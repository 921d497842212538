"""What describes a provider of webhooks: one value at the end of each module in `services/ingest/sources/`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from services.ingest.domain.mapping import Mapped, Origin
from services.ingest.domain.schemes import SchemeName

JSON = frozenset({"application/json", "text/json"})
FORM = frozenset({"application/x-www-form-urlencoded"})
MULTIPART = frozenset({"multipart/form-data"})


class Options(BaseModel):
    """What a provider's table in sources.toml may hold beside what all have. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoOptions(Options):
    """For providers that need nothing to be said."""


O = TypeVar("O", bound=Options)  # noqa: E741 - the one type variable of this module


class Delivery(Struct, frozen=True):
    """One authentic request, as a mapping sees it."""

    payload: Any
    """Parsed JSON; of a form the first value of each name; None where the body is neither."""
    body: bytes
    headers: Mapping[str, str]
    """By lower-case names."""
    query: Mapping[str, str] = {}
    files: Mapping[str, bytes] = {}
    """Files of a multipart form, by the name of their field."""


def without_token(delivery: Delivery) -> bytes:
    """Return a JSON body without its member `token`: a secret, which must not lie on topics and in dead letters."""
    if not isinstance(delivery.payload, dict):
        return delivery.body
    return orjson.dumps({name: value for name, value in delivery.payload.items() if name != "token"})


class Reply(NamedTuple):
    """What a provider's handshake wants to hear."""

    body: bytes = b""
    media: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = {}
    confirm: str | None = None
    """An address that must be called to end the handshake. It is, after the answer, and only at Amazon's own hosts."""


@dataclass(frozen=True, slots=True)
class Provider(Generic[O]):
    """How one provider's webhooks prove themselves and what they mean."""

    name: str
    """What `provider` says in sources.toml."""
    scheme: SchemeName
    read: Callable[[Delivery, Origin, O], Mapped]
    """Pure. Raises `Unmapped` or pydantic's ValidationError for what it does not understand."""
    options: type[O]
    media: frozenset[str] = JSON
    kept: tuple[str, ...] = ()
    """Headers that carry meaning and no secret: a replay of what was kept raw needs them."""
    handshake: Callable[[Delivery, Sequence[bytes]], Reply | None] | None = None
    """Asked after the proof: an answer to a challenge, or None for an ordinary delivery. Gets the source's keys."""
    challenge: Callable[[Delivery, Sequence[bytes]], Reply | None] | None = None
    """Asked before the proof, for handshakes that carry none: the answer must be of no use to a stranger.

    The body is not read yet, and may be of any media type."""
    without_secrets: Callable[[Delivery], bytes] | None = None
    """The body as it may be kept, where a secret rides in it; None: as it came."""
    large: bool = False
    """Whether a delivery may be a whole mail, which takes a while to read: that happens in a thread, for a while."""
    has_system: bool = True
    """Whether what it reports is known by ids of its own system. Mail is not: it is the same mail everywhere."""

    def bind(self, options: Options) -> Callable[[Delivery, Origin], Mapped]:
        """Return the mapping of one configured source."""
        if not isinstance(options, self.options):
            raise TypeError(f"{self.name} has other options")
        read, bound = self.read, options
        return lambda delivery, origin: read(delivery, origin, bound)


MapWebhook = Callable[[Delivery, Origin], Mapped]
"""(authentic request, origin) → events. Raises `Unmapped`, or pydantic's ValidationError."""


class BoundProvider(NamedTuple):
    """The provider of one configured source, and its mapping with that source's options."""

    provider: Provider[Any]
    read: MapWebhook


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A way in that is no webhook: a door of its own, or something that we fetch."""

    name: str
    options: type[Options]
    scheme: SchemeName | None
    """How what comes in is signed; None: otherwise, or not at all."""
    has_system: bool = True
    may_be_unsigned: bool = False
    """Whether the secret may be left out, because somebody else checks who comes in: the broker's access rules."""
