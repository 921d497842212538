"""What `tenure import` does: finds out what a file is, sends it, and says what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import typer

from services.cli.faults import CommandFault
from services.cli.imports import Keeping, Reading, Target
from services.cli.imports_mail import Calendar, Mails, letters_in
from services.cli.imports_rehearsal import Rehearsal
from services.cli.imports_report import Report, stands
from services.cli.imports_run import Errand, Outcome, run
from services.cli.imports_state import State, survey
from services.cli.imports_units import History, Lines, Table, exported_at, is_ndjson
from services.cli.remote import Remote
from services.cli.terminal import on_terminal, plain, show_rows
from services.ingest.sources.rows.events import Export
from services.ingest.sources.rows.mapping import BadMapping, RowMapping, read_mapping, shipped, shipped_mapping
from services.ingest.sources.rows.reading import Rejected

TABLES = ("accounts", "contacts", "domains", "users")
"""What a CSV file for accounts may hold."""
_MOST_SHOWN = 1000
_PAUSE_SECONDS = 1.0  # between two words about the progress
_CSV = frozenset({".csv", ".tsv", ".txt"})
_MAIL = frozenset({".mbox", ".eml"})


def list_mappings() -> None:
    """Say which mappings come with Tenure."""
    for one in shipped():
        typer.echo(f"{one.name:18} {one.about}")


def import_file(
    file: Path, reading: Reading, keeping: Keeping, target: Target, say: Callable[[str], None], *, dry_run: bool
) -> bool:
    """Import a file, or only say what would happen; say whether all of it could be taken."""
    table = _accounts_table(file, reading)
    if table is not None:
        outcome = _import_table(file, table, target.remote("accounts"), dry_run=dry_run)
    else:
        outcome = _import_history(_history(file, reading), reading, keeping, target, say, dry_run=dry_run)
    _show(outcome, would=dry_run)
    return not outcome.rejected


def _accounts_table(file: Path, reading: Reading) -> str | None:
    """Return which table of accounts a file is, or None for history."""
    if reading.as_ in TABLES:
        return reading.as_
    if (
        reading.as_
        or reading.mapping
        or reading.source
        or file.is_dir()
        or file.suffix.lower() not in _CSV
        or is_ndjson(file)
    ):
        return None
    for each in TABLES:
        if each in file.stem.lower():
            return each
    raise CommandFault(
        f"What does {file.name} hold? Say it with --as accounts, contacts, domains or users; history needs --source,"
        " and --as or --mapping for what its columns mean (tenure import --mappings lists those that come along)."
    )


def _history(file: Path, reading: Reading) -> History:
    if file.is_dir() or file.suffix.lower() in _MAIL:
        return Mails(file)
    if file.suffix.lower() == ".ics":
        return Calendar(file)
    if reading.as_ is None and reading.mapping is None:
        if file.suffix.lower() in _CSV and not is_ndjson(file):
            raise CommandFault(f"What do the columns of {file.name} mean? Say it with --as or --mapping.")
        return Lines(file)
    mapping = _mapping(reading)
    system = reading.system or mapping.system
    if system is None:
        raise CommandFault("Whose ids do the rows carry? Say it with --system, one of sources.toml, or in the mapping.")
    return Table(file, mapping, Export(system, exported_at(reading.exported, mapping, file)))


def _mapping(reading: Reading) -> RowMapping:
    """Return the mapping with what the command line says about it."""
    if reading.as_ is not None and reading.mapping is not None:
        raise CommandFault("Say either --as or --mapping.")
    place = reading.mapping or reading.as_
    try:
        if reading.mapping is not None:
            mapping = read_mapping(reading.mapping.read_text(encoding="utf-8"))
        else:
            mapping = shipped_mapping(str(reading.as_))
        constants = dict(mapping.constants)
        for given in reading.set_ or ():
            name, _, value = given.partition("=")
            if name not in constants:
                known = ", ".join(constants) or "none"
                raise CommandFault(f"--set {name}: {place} has no constant of that name; there are: {known}.")
            constants[name] = value
        values = mapping.values.model_dump() | {
            name: value for name, value in (("zone", reading.zone), ("region", reading.region)) if value is not None
        }
        mapping = mapping.with_constants(constants).model_copy(update={"values": type(mapping.values)(**values)})
    except UnicodeError:
        raise CommandFault(f"{place} is not written in UTF-8.") from None
    except BadMapping as bad:
        raise CommandFault(f"{place}: {bad}.") from None
    except ValueError:
        raise CommandFault("--zone or --region is wrong; write Europe/Berlin and DE.") from None
    if missing := mapping.missing_constants():
        raise CommandFault(f"{place} needs to be told {missing[0]}: --set {missing[0]}=…")
    return mapping


def _import_history(
    history: History,
    reading: Reading,
    keeping: Keeping,
    target: Target,
    say: Callable[[str], None],
    *,
    dry_run: bool,
) -> Outcome:
    if reading.source is None:
        raise CommandFault("Which source is this the history of? Name it with --source.")
    file, remote = history.file, target.remote("ingest")
    path = f"/v1/imports/{reading.source}"
    folder = keeping.state or file.parent
    folder.mkdir(parents=True, exist_ok=True)
    report_file = keeping.report or file.with_name(f"{file.name}.rejected.csv")
    if report_file == file:
        raise CommandFault("The report of rejected rows would overwrite the file; name another with --report.")
    digest, all_lines = _survey(history, remote.address + path, str(report_file.absolute()))
    state = None if dry_run else _state(folder / f"{file.name}.progress", digest, file, report_file, say)
    lines = isinstance(history, Lines) or (isinstance(history, Table) and history.is_ndjson)
    report = Report(report_file, 0 if state is None else state.progress.report_bytes, table=not lines)
    with ExitStack() as opened:
        uploads = opened.enter_context(remote.uploads())
        rehearsal = None
        if dry_run and (accounts := target.accounts) is not None:
            rehearsal = Rehearsal(opened.enter_context(accounts.uploads()))
        outcome = run(Errand(history, uploads, path, report, state, _Paced(say), all_lines, rehearsal))
    if state is not None:
        state.finish()
    if outcome.rejected:
        say(f"rejected rows are in {report.file}: mend them there and import that file")
    return outcome


def _state(place: Path, digest: str, file: Path, report: Path, say: Callable[[str], None]) -> State:
    """Return how far the import has come: to where it was interrupted, if nothing has changed since."""
    state = State.load(place, digest)
    if state.changed:
        say(f"{file.name} has changed since its import was interrupted: it begins anew, nothing doubles")
    if not stands(report, state.progress.report_bytes, state.progress.report_mark):
        say(f"{report.name} is not what the interrupted import left there: it begins anew, nothing doubles")
        state = State(place, digest)
    if state.progress.taken:
        say(f"{file.name}: goes on after {state.progress.taken} rows")
    return state


def _survey(history: History, address: str, report: str) -> tuple[str, int]:
    """Return what tells this import from others, and how many lines are to be read; 0: nobody can say."""
    if isinstance(history, Table):
        how = history.mapping.model_dump_json()
        return survey([history.file], address, report, how, history.export.system, str(history.export.exported_at))
    file = history.file
    digest, lines = survey(letters_in(file) if file.is_dir() else [file], address, report)
    return digest, lines if isinstance(history, Lines) else 0


class _Paced:
    """Says how far it has come, but not more often than anybody reads it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = 0.0

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PAUSE_SECONDS
            self._say(text)


def _import_table(file: Path, table: str, remote: Remote, *, dry_run: bool) -> Outcome:
    query = {"dry_run": "true"} if dry_run else None
    with remote.uploads() as uploads:
        answer = uploads.send(f"/v1/imports/{table}", file.read_bytes(), "text/csv", query)
    outcome = Outcome(accepted=int(answer.get("accepted", 0)))
    outcome.reject([_of_table(row) for row in answer.get("rejected", ())])
    return outcome


def _of_table(row: Mapping[str, Any]) -> Rejected:
    return Rejected(int(row["line"]), str(row.get("column", "")), str(row["reason"]), str(row["remedy"]))


def _show(outcome: Outcome, *, would: bool) -> None:
    typer.echo(f"{outcome.accepted} rows {'would be ' if would else ''}accepted, {outcome.rejected} rejected")
    for why, number in sorted({**outcome.left_out, **outcome.unknown}.items()):
        typer.echo(f"{number} left out: {why.replace('_', ' ')}")
    if would:
        for name, number in sorted(outcome.types.items()):
            typer.echo(f"{number:>8} {name}")
        if outcome.forecast is not None:
            for line in outcome.forecast.said():
                typer.echo(line)
        elif outcome.types:
            typer.echo("say --accounts-url to hear which of them are there already, and whose they are")
        for event in outcome.first:
            typer.echo(orjson.dumps(event, option=orjson.OPT_INDENT_2).decode())
    _show_rejections(outcome.rejections[:_MOST_SHOWN])
    if outcome.rejected > _MOST_SHOWN:
        typer.echo(f"and {outcome.rejected - _MOST_SHOWN} more")


def _show_rejections(rejections: Sequence[Rejected]) -> None:
    if rejections and on_terminal():
        rows = [(str(one.line), one.field, one.reason, one.remedy) for one in rejections]
        show_rows(("line", "field", "reason", "remedy"), rows)
        return
    for one in rejections:
        typer.echo(plain(f"line {one.line}: {one.field}: {one.reason}; {one.remedy}"))
