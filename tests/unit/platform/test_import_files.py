"""What `tenure import` reads, keeps and reports, without a service."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from services.cli.faults import CommandFault
from services.cli.imports_mail import Calendar, Mails
from services.cli.imports_report import Report, stands
from services.cli.imports_state import State, survey
from services.cli.imports_units import Item, Lines, Table, Unit, exported_at
from services.ingest.sources.rows.events import Export
from services.ingest.sources.rows.mapping import shipped_mapping
from services.ingest.sources.rows.reading import Rejected, Row

EXPORT = Export("erp:brightwell", datetime(2026, 3, 31, tzinfo=UTC))
SURVEYS = shipped_mapping("surveys")
SURVEY = {"id": "s-1", "survey": "nps", "score": 9, "answered_at": "2026-03-02T09:30:00Z"}


def bodies(units: list[Unit]) -> list[bytes]:
    return [unit.body for unit in units if isinstance(unit, Item)]


def test_lines_of_json_a_list_of_it_and_a_report_of_refused_ones_read_the_same(tmp_path: Path) -> None:
    events = [orjson.dumps({"id": str(number)}) for number in range(3)]
    lines, members, report = tmp_path / "a.ndjson", tmp_path / "a.json", tmp_path / "a.rejected.csv"
    lines.write_bytes(b"\n".join(events) + b"\n\n")
    members.write_bytes(b"\xef\xbb\xbf[" + b",\n".join(events) + b"]")
    Report(report, 0, table=False).write(
        [Rejected(7, "type", "is missing", "say it", Item(event, 7).stood) for event in events]
    )
    for file in (lines, members, report):
        assert bodies(list(Lines(file).units())) == events


def test_a_json_list_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2")
    with pytest.raises(CommandFault, match=r"a\.json: it is no JSON"):
        list(Lines(tmp_path / "a.json").units())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_are_read_in_the_encoding_that_is_declared(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "surveys.csv"
    file.write_text("id,survey,score,answered_at,comment\ns-1,nps,9,2026-03-02,Grüße\n", encoding=encoding)
    mapping = shipped_mapping("surveys")
    declared = mapping.model_copy(update={"file": mapping.file.model_copy(update={"encoding": encoding})})
    [item] = bodies(list(Table(file, declared, EXPORT).units()))
    assert orjson.loads(item)["data"]["text"] == "Grüße"
    if encoding in {"utf-16", "cp1252"}:
        with pytest.raises(CommandFault, match=r"not written in utf-8"):
            list(Table(file, mapping, EXPORT).units())


def test_rows_of_json_become_events_with_the_system_that_they_belong_to(tmp_path: Path) -> None:
    (tmp_path / "surveys.ndjson").write_bytes(orjson.dumps(SURVEY))
    [item] = bodies(list(Table(tmp_path / "surveys.ndjson", shipped_mapping("surveys"), EXPORT).units()))
    assert orjson.loads(item)["system"] == "erp:brightwell"


def test_a_report_goes_on_under_its_heading_and_forgets_what_was_not_acknowledged(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    first = Report(file, 0, table=True)
    first.write([Rejected(2, "b", "is bad", "mend it", (Row(2, {"a": "1", "b": "x"}),))])
    kept = first.size
    first.write([Rejected(3, "b", "is bad", "mend it", (Row(3, {"a": "2", "b": "y"}),))])
    again = Report(file, kept, table=True)
    again.write([Rejected(3, "b", "is worse", "mend it", (Row(3, {"a": "2", "b": "y", "tenure_line": "9"}),))])
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["a"], row["tenure_line"], row["tenure_reason"]) for row in rows] == [
        ("1", "2", "is bad"),
        ("2", "3", "is worse"),
    ]


def test_a_report_goes_on_under_a_heading_of_several_lines(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    rows = [Rejected(n, "b", "is bad", "mend it", (Row(n, {"Amount\n(EUR)": f"{n}", "b": "x"}),)) for n in (2, 3)]
    first = Report(file, 0, table=True)
    first.write(rows[:1])
    Report(file, first.size, table=True).write(rows[1:])
    with file.open(newline="") as opened:
        found = list(csv.DictReader(opened))
    assert [(row["Amount\n(EUR)"], row["b"], row["tenure_line"]) for row in found] == [("2", "x", "2"), ("3", "x", "3")]


@pytest.mark.parametrize("became", ["removed", "mended", "cut"])
def test_a_report_that_is_not_what_was_left_is_not_gone_on_with(tmp_path: Path, became: str) -> None:
    """Somebody may tidy up, or mend the first rows, before the import is begun again."""
    file = tmp_path / "r.csv"
    report = Report(file, 0, table=True)
    assert stands(file, 0, report.mark)
    for line in range(2, 5):
        report.write([Rejected(line, "b", "is bad", "mend it", (Row(line, {"a": "1", "b": "x"}),))])
    size, mark = report.size, report.mark
    assert stands(file, size, mark)
    report.write([Rejected(9, "b", "is bad", "mend it", (Row(9, {"a": "1", "b": "x"}),))])
    assert stands(file, size, mark)
    assert Report(file, size, table=True).mark == mark
    if became == "removed":
        file.unlink()
    elif became == "mended":
        file.write_text(file.read_text().replace("x", "y"))
    else:
        file.write_text(file.read_text()[:20])
    assert not stands(file, size, mark)


@pytest.mark.parametrize("name", ["a.ndjson", "surveys.ndjson"])
def test_a_byte_order_mark_before_the_first_line_of_json_is_no_matter(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + orjson.dumps(SURVEY) + b"\r\n" + orjson.dumps(SURVEY))
    found = list(Lines(file).units()) if name == "a.ndjson" else list(Table(file, SURVEYS, EXPORT).units())
    assert len(bodies(found)) == len(found) == 2
    for body in bodies(found):
        orjson.loads(body)


def test_a_line_for_the_door_is_one_line_whatever_stands_between_its_words(tmp_path: Path) -> None:
    """A carriage return is a blank in JSON, and to whoever splits lines the end of one."""
    file = tmp_path / "a.ndjson"
    file.write_bytes(b'{"id":\r"1"}\r\n{"id": "2"}\n')
    assert [body.splitlines() for body in bodies(list(Lines(file).units()))] == [[b'{"id": "1"}'], [b'{"id": "2"}']]


def test_the_state_of_another_file_is_not_believed(tmp_path: Path) -> None:
    file, kept = tmp_path / "a.csv", tmp_path / "a.csv.progress"
    file.write_text("one\n")
    digest, lines = survey([file], "here")
    assert lines == 1
    state = State.load(kept, digest)
    state.progress.taken = 500
    state.save()
    assert State.load(kept, digest).progress.taken == 500
    assert survey([file], "elsewhere")[0] != digest
    file.write_text("two\n")
    changed = State.load(kept, survey([file], "here")[0])
    assert (changed.changed, changed.progress.taken) == (True, 0)
    kept.write_text("{}")
    assert State.load(kept, digest).progress.taken == 0


def test_nobody_guesses_when_a_file_was_exported(tmp_path: Path) -> None:
    mapping = shipped_mapping("asterisk-cdr")
    with pytest.raises(CommandFault, match="--exported"):
        exported_at(None, mapping, tmp_path)
    with pytest.raises(CommandFault, match="no moment"):
        exported_at("yesterday", mapping, tmp_path)
    assert exported_at("2026-03-31", mapping, tmp_path) == EXPORT.exported_at
    assert exported_at("file", mapping, tmp_path) is not None


def test_a_large_mail_goes_without_its_attachment_and_a_maildir_in_the_same_order(tmp_path: Path) -> None:
    head = (
        "From: bob@acme.example\nMessage-ID: <1@acme.example>\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nHello\n--b\nContent-Type: application/pdf\n"
        "Content-Transfer-Encoding: base64\n\n"
    )
    (tmp_path / "cur").mkdir()
    (tmp_path / "cur" / "2").write_text(head + ("QUJD" * 19 + "\n") * 15_000 + "--b--\n")
    (tmp_path / "cur" / "1").write_text("From: eve@acme.example\n\nHi")
    small, large = (orjson.loads(body)["mail"] for body in bodies(list(Mails(tmp_path).units())))
    assert len(small) < 100
    assert 100 < len(large) < 100_000


def test_a_calendar_larger_than_a_request_goes_in_parts_and_a_series_stays_together(tmp_path: Path) -> None:
    event = "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTART:20260302T090000Z\r\nDESCRIPTION:{text}\r\nEND:VEVENT\r\n"
    events = "".join(event.format(uid=number % 40, text="x" * 10_000) for number in range(80))
    zone = "BEGIN:VTIMEZONE\r\nTZID:Here\r\nEND:VTIMEZONE\r\n"
    (tmp_path / "a.ics").write_text(f"BEGIN:VCALENDAR\r\n{zone}{events}END:VCALENDAR\r\n", newline="")
    parts = [json.loads(body)["calendar"] for body in bodies(list(Calendar(tmp_path / "a.ics").units()))]
    assert len(parts) == 3
    assert sum(part.count("BEGIN:VEVENT") for part in parts) == 80
    assert all(part.count("BEGIN:VTIMEZONE") == part.count("END:VCALENDAR") == 1 for part in parts)
    for uid in range(40):
        assert sorted(part.count(f"UID:{uid}\r") for part in parts) == [0, 0, 2]
