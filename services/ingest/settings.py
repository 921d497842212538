"""What ingest reads from its environment, and the sources that its file describes."""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from services.ingest.domain.identities import normalise_address
from services.ingest.verify import SchemeName, read_key
from services.runtime.settings import RuntimeSettings, SettingsError

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
System = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$")]

WEBHOOK_SCHEMES: Mapping[str, SchemeName | None] = {
    "zendesk": SchemeName.ZENDESK,
    "shopify": SchemeName.SHOPIFY,
    "aircall": None,
}
"""How the providers of `/v1/webhooks/{source}` sign; None: a token in the body."""


class IngestSettings(RuntimeSettings):
    """Settings of the ingest service."""

    sources_file: Path = Field(
        description="sources.toml: what sends us events, see services/ingest/sources.example.toml"
    )
    accept_seconds: float = Field(default=1.5, gt=0, le=1.9, description="wait for the broker before answering 503")
    publish_limit: int = Field(default=5000, ge=1, description="records waiting for the broker before answering 503")
    publish_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1_000_000, description="bytes waiting for the broker before answering 503"
    )
    linger_ms: int = Field(default=2, ge=0, le=100, description="wait for more records before sending a batch")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class SourceConfiguration(_Strict):
    """One `[sources.<name>]` of the file."""

    provider: Literal["zendesk", "aircall", "shopify", "cloudevents", "mail", "imap", "import", "inbound"]
    system: System | None = None
    secret_files: tuple[str, ...] = ()
    prices_include_tax: bool = False
    """Shopify: whether the shop shows prices with tax."""
    mailbox: str | None = None
    """Mail and IMAP: the address whose mail this is."""
    content: bool = True
    """Mail and IMAP: whether texts and subjects are kept, or who wrote to whom and when only."""
    internal: bool = False
    """Mail and IMAP: whether mail among ourselves is kept; it concerns no customer."""
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: str | None = None
    password_file: str | None = None
    folder: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ("INBOX",)
    """IMAP: one folder or a list; sent mail has one of its own."""
    poll_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 60
    tls: bool = True
    since: date | None = None
    """IMAP: mail from before this day is left alone; history enters by import."""

    @model_validator(mode="after")
    def _has_what_its_provider_needs(self) -> Self:
        needed: list[str] = []
        if self.provider in {*WEBHOOK_SCHEMES, "cloudevents", "import"}:
            needed.append("system")
        if self.provider in {*WEBHOOK_SCHEMES, "cloudevents", "mail"}:
            needed.append("secret_files")
        if self.provider in {"mail", "imap"}:
            needed.append("mailbox")
        if self.provider == "imap":
            needed += ["host", "username", "password_file"]
        if self.mailbox is not None and normalise_address(self.mailbox) != self.mailbox:
            raise ValueError("mailbox must be a mail address in lower case")
        for name in needed:
            if not getattr(self, name):
                raise ValueError(f"{name} is needed for the provider {self.provider}")
        return self

    @property
    def scheme(self) -> SchemeName | None:
        """How deliveries are signed; None: otherwise, or not at all."""
        return WEBHOOK_SCHEMES.get(self.provider, SchemeName.STANDARD_WEBHOOKS)


class SourcesFile(_Strict):
    """The whole file."""

    own_domains: tuple[str, ...] = ()
    default_region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    """ISO 3166 code of the country whose national phone numbers appear without a prefix."""
    sources: dict[SourceName, SourceConfiguration] = {}

    @model_validator(mode="after")
    def _reads_the_topic_once(self) -> Self:
        if sum(source.provider == "inbound" for source in self.sources.values()) > 1:
            raise ValueError("only one source may have the provider inbound: there is one such topic")
        return self


class Source(BaseModel):
    """A configured source with its keys read."""

    model_config = ConfigDict(frozen=True)

    name: str
    configuration: SourceConfiguration
    keys: tuple[bytes, ...] = Field(default=(), repr=False)
    password: str | None = Field(default=None, repr=False)

    @property
    def system(self) -> str:
        """The source system; a mailbox has none of its own."""
        return self.configuration.system or "mail"


def read_sources(settings: IngestSettings) -> tuple[SourcesFile, Mapping[str, Source]]:
    """Read the file and the secrets that it names; raise `SettingsError` with one plain sentence."""
    path = settings.sources_file
    try:
        file = SourcesFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as away:
        raise SettingsError(f"TENURE_SOURCES_FILE: {path} cannot be read ({away.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise SettingsError(f"TENURE_SOURCES_FILE: {path} is not TOML: {wrong}.") from None
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise SettingsError(f"TENURE_SOURCES_FILE: {field}: {first['msg'].removeprefix('Value error, ')}.") from None
    folder = settings.secrets_dir or path.parent
    return file, {name: _source(name, entry, folder) for name, entry in file.sources.items()}


def _source(name: str, configuration: SourceConfiguration, folder: Path) -> Source:
    secrets = [_secret(name, folder / file) for file in configuration.secret_files]
    password = None if configuration.password_file is None else _secret(name, folder / configuration.password_file)
    try:
        scheme = configuration.scheme
        keys = tuple(secret.encode() if scheme is None else read_key(scheme, secret) for secret in secrets)
    except ValueError:
        raise SettingsError(
            f"sources.{name}.secret_files: a secret is not written as {configuration.provider} shows it"
            " (Standard Webhooks: whsec_ and base64 of at least 16 bytes)."
        ) from None
    return Source(name=name, configuration=configuration, keys=keys, password=password)


def _secret(name: str, path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"sources.{name}: the secret file {path} cannot be read; create it, readable by us only."
        ) from None
    if not secret:
        raise SettingsError(f"sources.{name}: the secret file {path} is empty.")
    return secret
