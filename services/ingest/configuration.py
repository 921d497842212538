"""sources.toml: what sends us events, checked whole before anything of it is used."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from services.ingest.domain.options import one_or_more
from services.ingest.domain.privacy import NO_RULES, PrivacyRule, Rules
from services.ingest.domain.provider import Provider, SourceKind
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source, SourceConfiguration
from services.ingest.settings import IngestSettings
from services.ingest.sources.registry import KINDS
from services.ingest.verify import read_key
from services.runtime.settings import SettingsError

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
System = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$")]
_NAME: TypeAdapter[str] = TypeAdapter(SourceName)


class _Common(BaseModel):
    """What every source's table may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    system: System | None = None
    secret_files: tuple[str, ...] = ()
    responsible: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ()
    """Who is told when the source is down or quiet: users' mail addresses, subjects or ids."""


class _Company(BaseModel):
    """What the file says beside its sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    own_domains: tuple[str, ...] = ()
    default_region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    """ISO 3166 code of the country whose national phone numbers appear without a prefix."""
    privacy: tuple[PrivacyRule, ...] = ()
    """Mail that never comes in."""


@dataclass(frozen=True, slots=True)
class SourcesFile:
    """The whole file."""

    own_domains: tuple[str, ...] = ()
    default_region: str | None = None
    sources: Mapping[str, SourceConfiguration] = field(default_factory=dict)
    privacy: Rules = NO_RULES


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in the file. `path` leads to it: ("sources", "desk", "system")."""

    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.message}" if self.path else self.message


def read_sources(settings: IngestSettings) -> tuple[SourcesFile, Mapping[str, Source]]:
    """Read the file and the secrets that it names; raise `SettingsError` with one plain sentence."""
    path = settings.sources_file
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as away:
        raise SettingsError(f"TENURE_SOURCES_FILE: {path} cannot be read ({away.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise SettingsError(f"TENURE_SOURCES_FILE: {path} is not TOML: {wrong}.") from None
    file, mistakes = check(parsed)
    if mistakes:
        raise SettingsError(f"TENURE_SOURCES_FILE: {mistakes[0]}.")
    folder = settings.secrets_dir or path.parent
    return file, {name: _source(name, entry, folder) for name, entry in file.sources.items()}


def check(parsed: Mapping[str, Any]) -> tuple[SourcesFile, Sequence[Mistake]]:
    """Return what a parsed file says and everything that is wrong in it; what is wrong is left out."""
    mistakes: list[Mistake] = []
    company = _Company()
    try:
        company = _Company.model_validate({name: value for name, value in parsed.items() if name != "sources"})
    except ValidationError as wrong:
        mistakes += _mistakes((), wrong)
    tables = parsed.get("sources", {})
    if not isinstance(tables, dict):
        return SourcesFile(), [*mistakes, Mistake(("sources",), "must be tables such as [sources.desk]")]
    sources: dict[str, SourceConfiguration] = {}
    for name, table in tables.items():
        found, wrong_here = _check_source(name, table)
        mistakes += wrong_here
        if found is not None:
            sources[name] = found
    inbound = [name for name, source in sources.items() if source.provider == "inbound"]
    if len(inbound) > 1:
        message = "only one source may have the provider inbound: there is one such topic"
        mistakes.append(Mistake(("sources", inbound[1], "provider"), message))
    return SourcesFile(company.own_domains, company.default_region, sources, Rules(company.privacy)), mistakes


def _check_source(name: str, table: Any) -> tuple[SourceConfiguration | None, Sequence[Mistake]]:
    path = ("sources", name)
    try:
        _NAME.validate_python(name)
    except ValidationError:
        return None, [Mistake(path, "must be a name of lower-case letters, digits, dots and dashes, at most 63")]
    if not isinstance(table, dict):
        return None, [Mistake(path, f"must be a table: write [sources.{name}]")]
    kind = KINDS.get(str(table.get("provider")))
    if kind is None:
        return None, [Mistake((*path, "provider"), f"must be one of {', '.join(sorted(KINDS))}")]
    mistakes: list[Mistake] = []
    common, options = None, None
    try:
        common = _Common.model_validate({key: table[key] for key in _Common.model_fields if key in table})
    except ValidationError as wrong:
        mistakes += _mistakes(path, wrong)
    try:
        options = kind.options.model_validate({key: table[key] for key in table if key not in _Common.model_fields})
    except ValidationError as wrong:
        mistakes += _mistakes(path, wrong)
    for needed in _needed(kind):
        if not table.get(needed):
            mistakes.append(Mistake((*path, needed), f"is needed for the provider {kind.name}"))
    if mistakes or common is None or options is None:
        return None, mistakes
    configuration = SourceConfiguration(
        common.provider, common.system, common.secret_files, options, kind.scheme, common.responsible
    )
    return configuration, ()


def _needed(kind: SourceKind | Provider[Any]) -> Sequence[str]:
    # Amazon signs for everybody: there the topics that we listen to stand for the secret.
    proof = [] if kind.scheme is None else ["topics" if kind.scheme is SchemeName.SNS else "secret_files"]
    return [*(["system"] if kind.has_system else []), *proof]


def _mistakes(path: tuple[str, ...], wrong: ValidationError) -> list[Mistake]:
    return [
        Mistake((*path, *map(str, error["loc"])), error["msg"].removeprefix("Value error, "))
        for error in wrong.errors(include_url=False, include_input=False)
    ]


def _source(name: str, configuration: SourceConfiguration, folder: Path) -> Source:
    secrets = [_secret(name, folder / file) for file in configuration.secret_files]
    password_file = getattr(configuration.options, "password_file", None)
    password = None if password_file is None else _secret(name, folder / password_file)
    scheme = configuration.scheme
    if scheme is SchemeName.SNS:
        secrets = list(getattr(configuration.options, "topics", ()))
    try:
        keys = () if scheme is None else tuple(read_key(scheme, secret) for secret in secrets)
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
