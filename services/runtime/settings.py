"""What every service reads from its environment. Only `settings.py` files do so, and only when a service starts."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "TENURE_"
S = TypeVar("S", bound="RuntimeSettings")


class SettingsError(Exception):
    """A setting is missing or wrong. `str()` is one plain sentence that names the variable and the remedy."""


def known_zone(name: str) -> str:
    """The name, when it is that of a time zone; raises ValueError otherwise."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, such as Europe, is an OSError
        message = "is no time zone of the IANA database; write one like Europe/Berlin"
        raise ValueError(message) from None
    return name


class RuntimeSettings(BaseSettings):
    """Settings that every service understands; a service's own settings extend this class.

    Values come from `TENURE_<NAME>`, else from a file of that name in `TENURE_SECRETS_DIR`.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    kafka_bootstrap: str = Field(description="host:port of one or more brokers, separated by commas")
    topic_prefix: str = Field(
        default="", pattern=r"^[a-zA-Z0-9._-]{0,60}$", description="before topics, groups, transactional ids"
    )
    database_url: str = Field(repr=False, description="postgresql:// URL of the worker role")
    api_database_url: str | None = Field(
        default=None, repr=False, description="postgresql:// URL of the API's reading role"
    )
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8000, ge=0, le=65535)
    http_connections: int = Field(
        default=800, ge=10, description="connections to the API at once; beyond, the slowest client makes room or 503"
    )
    operations_host: str = "127.0.0.1"
    operations_port: int = Field(default=8001, ge=0, le=65535)
    clock: str = Field(
        default="real", pattern=r"^(real|file:.+)$", description="real, or file:/path with one RFC 3339 moment"
    )
    time_zone: str = Field(default="UTC", description="the company's one time zone, such as Europe/Berlin")
    reporting_currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$", description="an ISO 4217 code")
    auth_jwks_file: Path | None = Field(default=None, description="file with the public keys of the token issuer")
    auth_issuer: str | None = None
    auth_audience: str | None = None
    trace_file: Path | None = Field(default=None, description="spans are appended to it as JSON lines")
    otlp_endpoint: str | None = Field(default=None, description="http(s):// address of an OTLP collector")
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1, description="share of new traces that are recorded")
    batch_size: int = Field(default=5000, ge=1, le=50_000, description="greatest number of records in one transaction")
    fault_threshold: int = Field(
        default=5, ge=2, description="unexpected errors within ten minutes, across sources, that stop a consumer"
    )
    record_limit: int = Field(
        default=900_000, ge=1000, le=1_000_000, description="greatest size of one record in bytes"
    )
    relay_batch: int = Field(default=5000, ge=1, le=20_000, description="outbox rows in one Kafka transaction")
    session_seconds: float = Field(
        default=10, ge=1, le=300, description="silence after which the consumer group gives a replica's partitions away"
    )
    answer_seconds: float = Field(
        default=120, ge=1, description="longest wait for one answer of the database; a silent connection is given up"
    )
    stall_after: float = Field(
        default=300, ge=1, description="seconds with lag but without progress until a consumer is not ready"
    )
    failpoints: Path | None = Field(
        default=None, description="a folder with orders to break at named places, for tests; see runtime/failpoints.py"
    )
    secrets_dir: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return known_zone(name)

    @model_validator(mode="after")
    def _clock_is_real_in_production(self) -> Self:
        if self.environment == "production" and self.clock != "real":
            message = "TENURE_CLOCK must be real when TENURE_ENVIRONMENT is production; remove TENURE_CLOCK"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _no_failpoints_in_production(self) -> Self:
        if self.environment == "production" and self.failpoints is not None:
            message = "TENURE_FAILPOINTS breaks things on purpose; remove it when TENURE_ENVIRONMENT is production"
            raise ValueError(message)
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The company's time zone."""
        return ZoneInfo(self.time_zone)

    def physical(self, topic: str) -> str:
        """Return the broker's name of a logical topic, group or transactional id."""
        return self.topic_prefix + topic


def load(kind: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read settings of `kind`; raise `SettingsError` with one plain sentence when one is missing, unknown or wrong."""
    given = os.environ if environ is None else environ
    _refuse_misspelt(kind, given)
    secrets = given.get(f"{PREFIX}SECRETS_DIR")
    if secrets is not None and not Path(secrets).is_dir():
        message = f"TENURE_SECRETS_DIR: there is no folder {secrets}; create it or remove the setting."
        raise SettingsError(message)
    try:
        return kind(_secrets_dir=secrets, **_lowered(kind, environ))
    except ValidationError as wrong:
        raise SettingsError(_sentence(kind, wrong)) from None


def _lowered(kind: type[RuntimeSettings], environ: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what was given explicitly (by tests and the CLI) as keyword arguments."""
    if environ is None:
        return {}
    return {name: environ[PREFIX + name.upper()] for name in kind.model_fields if PREFIX + name.upper() in environ}


def _refuse_misspelt(kind: type[RuntimeSettings], environ: Mapping[str, str]) -> None:
    # Services often share one environment: a name that we do not know is only refused when it is almost one of ours.
    known = {PREFIX + name.upper() for name in kind.model_fields}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known:
            continue
        close = get_close_matches(name, known, n=1, cutoff=0.93)
        if close:
            message = f"{name} is not a setting; did you mean {close[0]}?"
            raise SettingsError(message)


def _sentence(kind: type[RuntimeSettings], wrong: ValidationError) -> str:
    first = wrong.errors(include_url=False, include_context=False, include_input=False)[0]
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, ") + "."
    field = str(first["loc"][0]).removeprefix(PREFIX.lower())
    name = PREFIX + field.upper()
    about = kind.model_fields[field].description if field in kind.model_fields else None
    remedy = f" ({about})" if about else ""
    if first["type"] == "missing":
        return f"{name} is not set; set it to what the service needs{remedy}."
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return f"{name}: {reason}{remedy}."
