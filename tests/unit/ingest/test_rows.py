"""Rows of tables, read by a mapping: each becomes the CloudEvent that the doors read, or is refused with its cell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Event
from contracts.interactions import assemble
from contracts.standins import model_of
from services.ingest.sources.cloudevents import read_cloudevent
from services.ingest.sources.rows.events import Export, LeftOut, Made, events
from services.ingest.sources.rows.mapping import BadMapping, RowMapping, read_mapping, shipped, shipped_mapping
from services.ingest.sources.rows.reading import BadFile, Rejected, read_rows
from tests.unit.ingest.golden import origin

EXPORTED = datetime(2026, 3, 31, tzinfo=UTC)
SYSTEM = "erp:brightwell"
ORDERS = """
name = "erp"
type = "tenure.order.placed.v1"
key = "{Auftrag}"
[file]
group = "{Auftrag}"
[values]
zone = "Europe/Berlin"
dates = ["%d.%m.%Y %H:%M", "%d.%m.%Y"]
decimal = ","
thousands = "."
currency = "EUR"
[fields]
time = "Datum"
net = "Netto"
"customer.address" = "E-Mail"
"customer.organisation" = "Kunde"
"line.product" = "Artikel"
"line.quantity" = "Menge"
"line.amount" = { column = "Preis", times = "Menge" }
"""
HEADING = "Auftrag;Datum;Netto;E-Mail;Kunde;Artikel;Menge;Preis"


def said(
    mapping: RowMapping, text: str, *, ndjson: bool = False, exported: datetime | None = EXPORTED
) -> list[Made | LeftOut | Rejected]:
    rows = read_rows(text.splitlines(keepends=True), mapping, ndjson=ndjson)
    return list(events(rows, mapping, Export(SYSTEM, exported)))


def read(found: Iterable[Made | LeftOut | Rejected]) -> list[Event]:
    """The events of a file without mistakes, as the door for imports reads them."""
    made: list[Event] = []
    for one in found:
        assert isinstance(one, Made), one
        item = orjson.loads(orjson.dumps(one.event))
        made.append(model_of(read_cloudevent({**item, "system": SYSTEM}, origin("history"), frozenset({SYSTEM}))))
    return made


def only_rejection(found: list[Made | LeftOut | Rejected]) -> Rejected:
    assert len(found) == 1
    assert isinstance(found[0], Rejected)
    return found[0]


def test_lines_of_an_order_in_rows_of_their_own_are_one_order() -> None:
    text = f"{HEADING}\n4711;02.03.2026 09:30;1.250,50;einkauf@acme.example;K7;A-1;2;500,25\n4711;;;;;A-2;1;250,00\n"
    [event] = read(said(read_mapping(ORDERS), text))
    order: Any = event
    assert order.interaction.native_id == "4711"
    assert order.interaction.system == SYSTEM
    assert order.occurred_at == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
    assert str(order.net.amount) == "1250.5"
    assert [(line.product, str(line.quantity), str(line.amount)) for line in order.lines] == [
        ("A-1", "2", "1000.5"),
        ("A-2", "1", "250"),
    ]
    assert {identity.value for identity in order.parties[0].identities} == {
        "einkauf@acme.example",
        "acme.example",
        "erp:brightwell:K7",
    }
    assert order.revision.order == 1_774_915_200_000_002


def test_a_later_export_of_the_same_row_is_the_same_report_with_a_greater_order() -> None:
    first = f"{HEADING}\n1;02.03.2026;10,00;;K7;A;1;10,00\n"
    later = f"{HEADING}\n1;02.03.2026;12,00;;K7;A;1;12,00\n"
    [before] = read(said(read_mapping(ORDERS), first))
    [after] = read(said(read_mapping(ORDERS), later, exported=datetime(2026, 4, 30, tzinfo=UTC)))
    assert before.id == after.id
    assert before.revision.sort_key < after.revision.sort_key


def test_rows_of_one_order_that_do_not_stand_together_are_refused_with_the_remedy() -> None:
    line = "{};02.03.2026;10,00;;K7;A;1;10,00\n"
    found = said(read_mapping(ORDERS), f"{HEADING}\n" + line.format(1) + line.format(2) + line.format(1))
    assert [type(one) for one in found] == [Made, Made, Rejected]
    assert isinstance(found[2], Rejected)
    assert found[2].line == 4
    assert "sort" in found[2].remedy


@given(scores=st.lists(st.integers(0, 10), min_size=2, max_size=5), swap=st.booleans())
def test_of_two_rows_about_the_same_thing_the_later_one_in_the_file_counts(scores: list[int], *, swap: bool) -> None:
    mapping = shipped_mapping("surveys")
    heading = "id,survey,score,answered_at,email\n"
    lines = [f"s-1,nps,{score},2026-03-02T09:30:00Z,bob@acme.example\n" for score in scores]
    events = read(said(mapping, heading + "".join(lines)))
    told: Any = assemble(list(reversed(events)) if swap else events)
    assert told.detail.score == scores[-1]
    # Mended in a report, a row still stands where it stood.
    report = heading.replace("\n", ",tenure_line\n") + lines[0].replace("\n", ",2\n")
    [mended] = read(said(mapping, "\n" * 40 + report))
    assert mended.revision.order == events[0].revision.order
    [later] = read(said(mapping, heading + lines[0], exported=datetime(2026, 3, 31, 0, 5, tzinfo=UTC)))
    assert later.revision.sort_key > events[-1].revision.sort_key


SIGNED = "V-12,signed,2025-03-01,12000.00,EUR,2026-03-31,K-7"
RENEWED = "V-12,renewed,2026-02-15,13200.00,EUR,2027-03-31,K-7"


@pytest.mark.parametrize("rows", [(SIGNED, RENEWED), (RENEWED, SIGNED)])
@pytest.mark.parametrize("archive", [None, datetime(2026, 4, 2, tzinfo=UTC)])
def test_a_contract_stands_as_the_latest_thing_that_happened_to_it_says(
    rows: tuple[str, str], archive: datetime | None
) -> None:
    """In whatever order the rows stand, and if what is older was exported later."""
    mapping = shipped_mapping("contracts")
    heading = "contract,change,at,recurring_per_year,currency,due_on,organisation\n"
    if archive is None:
        told = read(said(mapping, heading + "\n".join(rows) + "\n"))
    else:
        exports = (archive, EXPORTED) if rows[0] == SIGNED else (EXPORTED, archive)
        told = [
            one
            for row, at in zip(rows, exports, strict=True)
            for one in read(said(mapping, heading + row, exported=at))
        ]
    whole: Any = assemble(told)
    assert (str(whole.detail.recurring.amount), str(whole.detail.due_on)) == ("13200", "2027-03-31")
    # A later export corrects what an earlier one said of the same change.
    [mended] = read(
        said(mapping, heading + RENEWED.replace("13200", "13500"), exported=datetime(2026, 5, 1, tzinfo=UTC))
    )
    corrected: Any = assemble([mended, *told])
    assert str(corrected.detail.recurring.amount) == "13500"
    assert len({event.id for event in (mended, *told)}) == 2


def test_a_last_row_that_breaks_off_is_refused() -> None:
    """A file that was still being written: its last amount may be half of one."""
    row = "{};02.03.2026;30,00;;K7;A;1;10,00"
    mapping = read_mapping(ORDERS.replace('group = "{Auftrag}"', ""))
    for cut in ("2;02.03.2026;30,0", "2", "2;02.03.2026;30,00;;K7;A;1"):
        found = said(mapping, f"{HEADING}\n{row.format(1)}\n{cut}")
        assert [type(one) for one in found] == [Made, Rejected]
        assert isinstance(found[1], Rejected)
        assert "breaks off" in found[1].reason
    # Spreadsheets leave out what is empty at the end of a row.
    [_, whole] = read(said(mapping, f"{HEADING};more\n{row.format(1)}\n{row.format(2)}\n"))
    assert whole.interaction.native_id == "2"
    [_, last] = read(said(mapping, f"{HEADING}\n{row.format(1)}\n{row.format(2)}"))
    assert last.interaction.native_id == "2"


UNREADABLE = '1;02.03.2026;30,00;;K7;"B"x;1;10,00\n'
TOO_LONG = "1;02.03.2026;30,00;;K7;B;C;1;10,00\n"


@pytest.mark.parametrize("bad", [UNREADABLE, TOO_LONG])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_order_of_which_a_row_cannot_be_read_is_refused_whole(bad: str, place: int) -> None:
    """What is left of it would be an order with a line too few, and the mended row another, of one line."""
    row = "{};02.03.2026;30,00;;K7;{};1;10,00\n"
    of_one = [row.format(1, "A"), row.format(1, "C")]
    of_one.insert(place, bad)
    text = f"{HEADING}\n" + row.format(8, "A") + row.format(7, "A") + "".join(of_one) + row.format(9, "A")
    found = said(read_mapping(ORDERS), text + row.format(6, "A"))
    made = [one.event["subject"] for one in found if isinstance(one, Made)]
    assert {"8", "6"} <= set(made)
    assert "1" not in made
    refused = [one for one in found if isinstance(one, Rejected)]
    told = [each.line for one in refused for each in one.rows]
    assert {4, 5, 6} <= set(told)
    assert [one.line for one in found if isinstance(one, Rejected)] == sorted(one.line for one in refused)
    # In the order of the file they are one group again once they are mended.
    assert sorted(told) == list(range(min(told), max(told) + 1))


def test_rows_that_stand_for_themselves_are_taken_beside_one_that_cannot_be_read() -> None:
    mapping = read_mapping(ORDERS.replace('group = "{Auftrag}"', ""))
    row = "{};02.03.2026;10,00;;K7;A;1;10,00\n"
    found = said(mapping, f"{HEADING}\n" + row.format(1) + UNREADABLE + row.format(2))
    assert [type(one) for one in found] == [Made, Rejected, Made]


@pytest.mark.parametrize("number", ["12.50", "1.2345", "1.23.456,00x", "1,5.000", "1.234.56", ".123", "1..234"])
def test_points_that_stand_where_no_thousands_end_are_refused(number: str) -> None:
    """Without a look at their places twelve and a half would be twelve hundred and fifty."""
    bad = only_rejection(said(read_mapping(ORDERS), f"{HEADING}\n1;02.03.2026;{number};;K7;A;1;10,00\n"))
    assert bad.field == "Netto"


@pytest.mark.parametrize(
    ("number", "means"),
    [("1.234", "1234"), ("-1.234.567,89", "-1234567.89"), ("12.34.567", "1234567"), ("1234,5", "1234.5")],
)
def test_thousands_are_set_off_or_not(number: str, means: str) -> None:
    [event] = read(said(read_mapping(ORDERS), f"{HEADING}\n1;02.03.2026;{number};;K7;A;1;10,00\n"))
    order: Any = event
    assert str(order.net.amount) == means


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        (";02.03.2026;10,00;;K7;A;1;10,00", "key"),
        ("1;;10,00;;K7;A;1;10,00", "Datum"),
        ("1;31.02.2026;10,00;;K7;A;1;10,00", "Datum"),
        ("1;02.03.1926;10,00;;K7;A;1;10,00", "Datum"),
        ("1;02.03.2026;1.000;;K7;A;1;x", "Preis"),
        ("1;02.03.2026;zehn;;K7;A;1;10,00", "Netto"),
        ("1;02.03.2026;1,1234567;;K7;A;1;10,00", "Netto"),
        ("1;02.03.2026;10,00;niemand;K7;A;1;10,00", "E-Mail"),
        ("1;02.03.2026;10,00;;K7;A;;10,00", "Menge"),
    ],
)
def test_a_wrong_cell_refuses_its_row_and_names_its_column(cells: str, column: str) -> None:
    bad = only_rejection(said(read_mapping(ORDERS), f"{HEADING}\n{cells}\n"))
    assert (bad.line, bad.field) == (2, column)
    assert bad.reason
    assert bad.remedy
    assert bad.rows[0].cells["Artikel"] == "A"


def test_a_number_whose_points_could_be_decimals_is_refused_where_a_comma_is_declared() -> None:
    mapping = read_mapping(ORDERS.replace('thousands = "."', 'thousands = ""'))
    bad = only_rejection(said(mapping, f"{HEADING}\n1;02.03.2026;1.234;;K7;A;1;10,00\n"))
    assert bad.field == "Netto"


def test_a_heading_without_a_column_that_is_read_refuses_the_file() -> None:
    with pytest.raises(BadFile, match="Netto"):
        said(read_mapping(ORDERS), "Auftrag;Datum;E-Mail;Kunde;Artikel;Menge;Preis\n")


@pytest.mark.parametrize("column", ["Netto", "E-Mail"])
def test_a_heading_that_has_a_column_twice_refuses_the_file(column: str) -> None:
    """Nobody can say which of them is meant."""
    with pytest.raises(BadFile, match=f"{column}.*twice"):
        said(read_mapping(ORDERS), f"{HEADING};{column}\n1;02.03.2026;10,00;;K7;A;1;10,00;20,00\n")
    assert said(read_mapping(ORDERS), f"{HEADING};x;x;;\n") == []


def test_a_byte_order_mark_quotes_line_breaks_and_empty_lines_are_no_matter() -> None:
    text = (
        f'\ufeff{HEADING}\r\n\r\n1;02.03.2026;10,00;;K7;"A ""x"";\r\nb";1;10,00\r\n2;02.03.2026;1,00;;K7;A;1;1,00\r\n'
    )
    found = said(read_mapping(ORDERS), text)
    assert [one.rows[0].line for one in found] == [3, 5]
    assert len(read(found)) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("key = ", "keys = "), "key: is missing"),
        (('key = "{Auftrag}"', 'key = "Auftrag"'), "names no column"),
        (("tenure.order.placed.v1", "tenure.order.eaten.v1"), "no type"),
        (("net = ", "nett = "), "fields.nett"),
        (("line.product", "line.colour"), "fields.line.colour"),
        (('time = "Datum"', ""), "fields.time"),
        (("Europe/Berlin", "Europe/Bonn"), "zone"),
        (('currency = "EUR"', 'currency = "EURO"'), "currency"),
        (('thousands = "."', 'thousands = ","'), "differ"),
        (("[file]", "[file"), "TOML"),
    ],
)
def test_a_wrong_mapping_is_refused_in_one_sentence(change: tuple[str, str], says: str) -> None:
    with pytest.raises(BadMapping, match=says):
        read_mapping(ORDERS.replace(*change))


def test_words_are_translated_and_unknown_ones_refused() -> None:
    mapping = shipped_mapping("contact-changes")
    text = "id,change,at,email\n1,LEFT,2026-03-02,bob@acme.example\n2,married,2026-03-02,bob@acme.example\n"
    found = said(mapping, text)
    assert [event.TYPE for event in read(found[:1])] == ["tenure.contact.left.v1"]
    assert isinstance(found[1], Rejected)
    assert found[1].field == "change"
    assert "joined" in found[1].remedy


def test_all_shipped_mappings_are_sound() -> None:
    assert {one.name for one in shipped()} >= {"asterisk-cdr", "orders", "surveys", "usage", "shopify-orders"}
    assert all(one.about for one in shipped())


CDR = (
    '"","03012345678","100","from-trunk","""Bob"" <03012345678>","PJSIP/trunk-0001","PJSIP/100-0002","Queue","sales",'
    '"2026-03-02 09:30:00",{answer},"2026-03-02 09:33:00",180,{billsec},"{disposition}","DOCUMENTATION","1772440200.1",'
    '"","","1772440200.1",{sequence}\n'
)


def cdr(*lines: str) -> list[Made | LeftOut | Rejected]:
    mapping = shipped_mapping("asterisk-cdr")
    mapping = mapping.model_copy(
        update={"values": mapping.values.model_copy(update={"zone": "Europe/Berlin", "region": "DE"})}
    )
    return said(mapping, "".join(lines))


def test_a_call_that_rang_at_two_phones_is_one_call_with_two_legs() -> None:
    missed = CDR.format(answer="", billsec=0, disposition="NO ANSWER", sequence=1)
    taken = CDR.format(answer='"2026-03-02 09:30:20"', billsec=160, disposition="ANSWERED", sequence=2)
    legs: list[Any] = read(cdr(missed, taken))
    assert len({leg.interaction.id for leg in legs}) == 1
    assert len({leg.id for leg in legs}) == 2
    assert [(leg.direction, leg.answered_by_person, leg.talk_seconds) for leg in legs] == [
        ("in", False, 0),
        ("in", True, 160),
    ]
    assert legs[0].parties[0].identities[0].value == "+493012345678"
    assert legs[0].parties[0].name == "Bob"
    assert legs[0].occurred_at == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


def test_calls_go_out_from_extensions_and_calls_among_them_are_left_out() -> None:
    line = CDR.format(answer="", billsec=0, disposition="ANSWERED", sequence=1)
    out = line.replace('"03012345678","100"', '"100","03012345678"').replace("PJSIP/trunk-0001", "PJSIP/100-0001")
    [leg] = read(cdr(out))
    assert getattr(leg, "direction", None) == "out"
    [inner] = cdr(out.replace('"100","03012345678"', '"100","101"'))
    assert isinstance(inner, LeftOut)


def test_a_voicemail_is_no_person_and_a_withheld_number_nobody() -> None:
    line = CDR.format(answer='"2026-03-02 09:30:20"', billsec=9, disposition="ANSWERED", sequence=1)
    line = line.replace('"Queue"', '"VoiceMail"').replace('"03012345678","100"', '"anonymous","100"')
    leg: Any = read(cdr(line))[0]
    assert (leg.answered_by_person, leg.talk_seconds) == (False, 0)
    assert [party.ours for party in leg.parties] == [True]


@pytest.mark.parametrize("rows", [["", "linked", "7"], ["userfield", "", "linked", "7"]])
def test_what_the_last_columns_of_a_call_record_are_follows_from_their_number(rows: list[str]) -> None:
    # loguserfield is off by default: then twenty cells, with it one more; and it may be switched between two rows.
    line = CDR.format(answer="", billsec=0, disposition="BUSY", sequence=1)
    head = line.split(',"1772440200.1"')[0]
    other = ",".join((head, '"1772440200.2"', *(f'"{cell}"' for cell in rows))) + "\n"
    legs: list[Any] = read(cdr(line.replace('"1772440200.1",1', '"linked",1'), other))
    assert [leg.interaction.native_id for leg in legs] == ["linked", "linked"]
    assert [leg.report for leg in legs] == ["1772440200.1/1", "1772440200.2/7"]


def test_a_call_record_without_the_newer_columns_is_a_call_of_its_own() -> None:
    head = CDR.format(answer="", billsec=0, disposition="BUSY", sequence=1).split(',"1772440200.1"')[0]
    for tail in (',"1772440200.9"', ',"1772440200.9","userfield"'):
        [leg] = read(cdr(f"{head}{tail}\n"))
        assert leg.interaction.native_id == "1772440200.9"
    # Without loguniqueid three cells follow, and none of them is its id.
    assert only_rejection(cdr(f'{head},"","linked","7"\n')).field == "uniqueid"


def test_a_cdr_without_uniqueid_says_what_to_set() -> None:
    short = CDR.format(answer="", billsec=0, disposition="BUSY", sequence=1).split(',"1772440200.1"')[0] + "\n"
    assert "loguniqueid" in only_rejection(cdr(short)).remedy


def test_an_id_that_a_program_wrote_as_a_decimal_is_the_same_id() -> None:
    """Data frames make 4711.0 of a column of numbers in which one is missing; webhooks say 4711."""
    mapping = shipped_mapping("surveys")
    row = {"survey": "nps", "score": 9, "answered_at": "2026-03-02T09:30:00Z", "organisation": 77.0}
    text = "\n".join(orjson.dumps({"id": native, **row}).decode() for native in (4711, 4711.0, 4711.5))
    first, second, other = read(said(mapping, text, ndjson=True))
    assert first.interaction == second.interaction
    assert other.interaction.native_id == "4711.5"
    assert first.parties[0].identities[0].value == "erp:brightwell:77"


def test_nested_lines_of_ndjson_are_read() -> None:
    row = {
        "order": 9,
        "placed_at": "2026-03-02T09:30:00Z",
        "currency": "EUR",
        "net": 12.5,
        "organisation": "K7",
        "lines": [{"product": "A", "quantity": 1, "amount": "12.50"}],
    }
    [event] = read(said(shipped_mapping("orders-nested"), orjson.dumps(row).decode() + "\n", ndjson=True))
    order: Any = event
    assert (str(order.net.amount), str(order.lines[0].amount)) == ("12.5", "12.5")


@given(st.text(max_size=300))
def test_whatever_a_file_holds_it_is_read_or_refused(text: str) -> None:
    mapping = shipped_mapping("surveys")
    heading = "id,survey,score,answered_at,email\n"
    for one in said(mapping, heading + text):
        assert isinstance(one, Made | Rejected)


@given(st.lists(st.text(max_size=20), min_size=15, max_size=21))
def test_whatever_a_call_record_holds_it_is_read_or_refused(cells: list[str]) -> None:
    line = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\n"
    for one in cdr(line.replace("uniqueid", "")):
        assert isinstance(one, Made | LeftOut | Rejected)
