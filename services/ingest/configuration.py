"""sources.toml: what sends us events, checked whole before anything of it is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from services.ingest.documents import read_document
from services.ingest.domain.mistakes import Mistake, Remark
from services.ingest.domain.options import InboundOptions, one_or_more
from services.ingest.domain.places import OwnDomain, Region
from services.ingest.domain.privacy import NO_RULES, PrivacyRule, Rules
from services.ingest.domain.provider import Provider, SourceKind
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source, SourceConfiguration
from services.ingest.secrets import Secrets
from services.ingest.settings import IngestSettings
from services.ingest.sources.registry import KINDS
from services.runtime.settings import SettingsError

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
System = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$")]
Responsible = Annotated[
    str, StringConstraints(pattern=r"^(operators|team:[^@]{1,200}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
]
"""Nothing that names a person to others: it is told on the operations port, which asks nobody who they are."""
_NAME: TypeAdapter[str] = TypeAdapter(SourceName)
_REMEDIES = {
    "system": 'name the system whose ids it reports, such as system = "zendesk:acme", and never change it',
    "secret_files": 'name the files with its secrets, such as secret_files = ["desk.secret"]',
    "default_region": 'write two capitals (ISO 3166), such as "DE"',
    "region": 'write two capitals (ISO 3166), such as "DE"',
    "mailbox": 'write it in small letters, such as "anna@acme.example"',
    "host": 'write the name of the server, such as "imap.acme.example"',
    "name": 'write small letters, digits and dashes, such as "works-council"',
    "poll_seconds": "write a number from 0.1 to 3600",
    "port": "write a number from 1 to 65535",
}
_REMEDY_OF_PEOPLE = (
    'write "team:Service", "operators", or the id of a user as accounts lists them: addresses stay there'
)
_REMEDIES_BY_TYPE = {
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "string_type": 'write a text in quotes, such as "text"',
    "tuple_type": 'write a list, such as ["one"]',
    "string_too_short": "write it in quotes; it must not be empty",
    "string_too_long": "write a shorter one",
    "too_short": 'name at least one, such as ["one"]',
    "too_long": "name fewer",
    "list_type": 'write a list, such as ["one"]',
    "int_type": "write a number",
    "int_parsing": "write a number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "date_from_datetime_parsing": "write a day such as 2026-01-31, without quotes",
}


class _Common(BaseModel):
    """What every source's table may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    system: System | None = None
    secret_files: tuple[str, ...] = ()
    responsible: Annotated[tuple[Responsible, ...], BeforeValidator(one_or_more)] = ()
    """Who is told when the source is down or quiet."""


class _Company(BaseModel):
    """What the file says beside its sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    own_domains: tuple[OwnDomain, ...] = ()
    default_region: Region | None = None
    """The country whose national phone numbers appear without a prefix."""
    privacy: tuple[PrivacyRule, ...] = ()
    """Mail that never comes in."""


_BELOW = {"privacy": sorted(PrivacyRule.model_fields)}
"""What may stand in the tables of a list."""


@dataclass(frozen=True, slots=True)
class SourcesFile:
    """The whole file."""

    own_domains: tuple[str, ...] = ()
    default_region: str | None = None
    sources: Mapping[str, SourceConfiguration] = field(default_factory=dict)
    privacy: Rules = NO_RULES


@dataclass(frozen=True, slots=True)
class Examined:
    """What sources.toml and the secrets that it names say. Of what is wrong nothing is in `sources`."""

    file: SourcesFile
    sources: Mapping[str, Source]
    remarks: Sequence[Remark]

    @property
    def mistakes(self) -> Sequence[Remark]:
        """What must be mended before it can be used."""
        return [remark for remark in self.remarks if remark.severe]


def examine_for(settings: IngestSettings) -> Examined:
    """Read the file and the secrets that it names; raise `SettingsError` with one plain sentence."""
    examined = examine(settings.sources_file, settings.secrets_dir)
    if examined.mistakes:
        first, more = examined.mistakes[0], len(examined.mistakes) - 1
        also = f" There are {more} more mistakes: `tenure sources check` shows all." if more else ""
        raise SettingsError(f"TENURE_SOURCES_FILE: {str(first).rstrip('.')}.{also}")
    return examined


def secrets_folder(path: Path, secrets_dir: Path | None) -> Path:
    """Return where the secrets lie that sources.toml (or the folder in its place) names."""
    return secrets_dir or (path if path.is_dir() else path.parent)


def examine(path: Path, secrets_dir: Path | None = None) -> Examined:
    """Read sources.toml, or all files *.toml of a folder as one, with the secrets; never raises for what they hold."""
    document = read_document(path)
    file, mistakes = check(document.parsed)
    remarks = [*document.remarks, *(document.remark(mistake) for mistake in mistakes)]
    sources: dict[str, Source] = {}
    folder = secrets_folder(path, secrets_dir)
    for name, table in _tables(document.parsed).items():
        secrets = Secrets(name, folder)
        configuration = file.sources.get(name)
        if configuration is None:
            secrets.look(table)
        elif (source := secrets.read(configuration)) is not None:
            sources[name] = source
        remarks += [document.remark(mistake) for mistake in secrets.mistakes]
        remarks += [document.remark(mistake, severe=False) for mistake in secrets.doubts]
    if not file.own_domains and any(source.mail for source in sources.values()):
        doubt = Mistake(("own_domains",), "is empty, so nobody can say which mail is ours", "name your mail domains")
        remarks.append(document.remark(doubt, severe=False))
    return Examined(file, sources, sorted(remarks, key=lambda one: (not one.severe, str(one.file), one.line)))


def _tables(parsed: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    tables = parsed.get("sources")
    return {name: one for name, one in tables.items() if isinstance(one, dict)} if isinstance(tables, dict) else {}


def check(parsed: Mapping[str, Any]) -> tuple[SourcesFile, Sequence[Mistake]]:
    """Return what a parsed file says and everything that is wrong in it; what is wrong is left out."""
    mistakes: list[Mistake] = []
    company = _Company()
    try:
        company = _Company.model_validate({name: value for name, value in parsed.items() if name != "sources"})
    except ValidationError as wrong:
        mistakes += _mistakes((), wrong, [*_Company.model_fields, "sources"])
    tables = parsed.get("sources", {})
    if not isinstance(tables, dict):
        return SourcesFile(), [*mistakes, Mistake(("sources",), "must be tables such as [sources.desk]")]
    sources: dict[str, SourceConfiguration] = {}
    for name, table in tables.items():
        found, wrong_here = _check_source(name, table)
        mistakes += wrong_here
        if found is not None:
            sources[name] = found
    mistakes += _inbound_twice(sources)
    return SourcesFile(company.own_domains, company.default_region, sources, Rules(company.privacy)), mistakes


def _check_source(name: str, table: Any) -> tuple[SourceConfiguration | None, Sequence[Mistake]]:
    path = ("sources", name)
    try:
        _NAME.validate_python(name)
    except ValidationError:
        message = "must be a name of lower-case letters, digits, dots and dashes, at most 63"
        return None, [Mistake(path, message, "it stands in the address that the provider calls")]
    if not isinstance(table, dict):
        return None, [Mistake(path, f"must be a table: write [sources.{name}]")]
    common, mistakes = _check_common(path, table)
    provider = table.get("provider")
    if not isinstance(provider, str):
        return None, mistakes
    kind = KINDS.get(provider)
    if kind is None:
        remedy = _instead(provider, sorted(KINDS))
        return None, [Mistake((*path, "provider"), "is no provider that we know", remedy), *mistakes]
    known = sorted({*_Common.model_fields, *kind.options.model_fields})
    options = None
    try:
        options = kind.options.model_validate({key: table[key] for key in table if key not in _Common.model_fields})
    except ValidationError as wrong:
        mistakes += _mistakes(path, wrong, known)
    for needed in _needed(kind):
        if not table.get(needed):
            remedy = _REMEDIES.get(needed, f"add a line `{needed} = …`")
            mistakes.append(Mistake((*path, needed), f"is needed for the provider {kind.name}", remedy))
    if mistakes or common is None or options is None:
        return None, mistakes
    configuration = SourceConfiguration(
        common.provider, common.system, common.secret_files, options, kind.scheme, common.responsible
    )
    return configuration, ()


def _check_common(path: tuple[str, ...], table: Mapping[str, Any]) -> tuple[_Common | None, list[Mistake]]:
    if "provider" not in table:
        return None, [Mistake((*path, "provider"), "is needed", f"add it: one of {', '.join(sorted(KINDS))}")]
    try:
        return _Common.model_validate({key: table[key] for key in _Common.model_fields if key in table}), []
    except ValidationError as wrong:
        return None, _mistakes(path, wrong)


def _inbound_twice(sources: Mapping[str, SourceConfiguration]) -> list[Mistake]:
    """Whoever writes to the topic is known by its attribute `source`, so each may stand in the file once."""
    mistakes: list[Mistake] = []
    first: dict[str | None, str] = {}
    for name, source in sources.items():
        if isinstance(source.options, InboundOptions):
            before = first.setdefault(source.options.publisher, name)
            if before != name:
                whose = "everybody" if source.options.publisher is None else repr(source.options.publisher)
                message = f"{before} takes what {whose} writes to the topic already"
                mistakes.append(Mistake(("sources", name, "publisher"), message, f"name another, or remove {before}"))
    return mistakes


def _needed(kind: SourceKind | Provider[Any]) -> Sequence[str]:
    # Amazon signs for everybody: there the topics that we listen to stand for the secret.
    unsigned = kind.scheme is None or (isinstance(kind, SourceKind) and kind.may_be_unsigned)
    proof = [] if unsigned else ["topics" if kind.scheme is SchemeName.SNS else "secret_files"]
    return [*(["system"] if kind.has_system else []), *proof]


def _mistakes(path: tuple[str, ...], wrong: ValidationError, known: Sequence[str] = ()) -> list[Mistake]:
    found = []
    for error in wrong.errors(include_url=False, include_input=False):
        place = (*path, *map(str, error["loc"]))
        if error["type"] == "extra_forbidden":
            there = known if len(place) == len(path) + 1 else _BELOW.get(place[len(path)], ())
            found.append(Mistake(place, "is not known here", _instead(place[-1], there)))
        elif error["type"] == "missing":
            found.append(Mistake(place, "is needed", f"add a line `{place[-1]} = …`"))
        else:
            remedy = _REMEDY_OF_PEOPLE if "responsible" in place else _REMEDIES.get(place[-1])
            remedy = remedy or _REMEDIES_BY_TYPE.get(error["type"], "")
            found.append(Mistake(place, _plainly(error["type"], error["msg"]), remedy))
    return found


def _plainly(kind: str, message: str) -> str:
    """Return pydantic's words as a person says them who has never heard of it."""
    if kind == "string_pattern_mismatch":
        return "is not written as it must be"
    if kind in {"string_too_short", "too_short"}:
        return "is empty or too short"
    if kind in {"string_too_long", "too_long"}:
        return "is too long"
    plain = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return plain.replace("a valid tuple", "a list").replace("a valid ", "a ")


def _instead(written: str, known: Sequence[str]) -> str:
    """Return what may have been meant, else what could be."""
    close = get_close_matches(written.lower(), known, n=1, cutoff=0.7)
    if close:
        return f"did you mean {close[0]}?"
    return f"remove it, or write one of {', '.join(sorted(known))}" if known else "remove it"
