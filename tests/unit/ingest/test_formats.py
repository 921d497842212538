"""What docs/sources/formats.md shows can be imported and sent as it stands there, and it names every column."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ingest.domain.provider import Delivery
from services.ingest.sources.cloudevents import read_cloudevent
from services.ingest.sources.rows.events import Export, Made, events
from services.ingest.sources.rows.mapping import read_mapping, shipped, shipped_mapping
from services.ingest.sources.rows.reading import read_rows
from services.ingest.sources.rows.webhook import RowsOptions, read
from tests.unit.ingest.golden import origin

PAGE = Path(__file__).parents[3] / "docs" / "sources" / "formats.md"
SECTIONS = {part.partition("\n")[0].strip(): part for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]}
OF_OTHERS = {"asterisk-cdr", "shopify-orders", "zendesk-tickets"}
EXPORT = Export("rows:brightwell", datetime(2026, 3, 10, tzinfo=UTC))


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_every_format_has_its_section() -> None:
    assert set(SECTIONS) == {one.name for one in shipped()} - OF_OTHERS


@pytest.mark.parametrize("name", SECTIONS)
def test_the_table_of_a_file_goes_in_whole(name: str) -> None:
    mapping = shipped_mapping(name)
    for text in blocks(SECTIONS[name], "csv"):
        found = list(events(read_rows(text.splitlines(keepends=True), mapping, ndjson=False), mapping, EXPORT))
        assert found
        for one in found:
            assert isinstance(one, Made), one
            read_cloudevent(dict(one.event), origin("rows"))


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "orders"])
def test_what_is_sent_live_is_read(name: str) -> None:
    examples = blocks(SECTIONS[name], "json")
    assert examples
    for text in examples:
        body = text.encode()
        mapped = read(Delivery(json.loads(text), body, {}), origin("rows"), RowsOptions(mapping=name))
        assert mapped.events
        assert all(event.revision.authority == 1 for event in mapped.events)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_table_names_the_columns_that_are_read(name: str) -> None:
    mapping = shipped_mapping(name)
    rows = [line.split("|")[1:3] for line in SECTIONS[name].splitlines() if line.startswith("| `")]
    named = {column: needed.strip() for cells, needed in rows for column in re.findall(r"`([a-z_]+)`", cells)}
    reads = {column for take in mapping.fields.values() for column in take.columns} | mapping.columns
    inner = {take.column for target, take in mapping.fields.items() if target.startswith("line.")}
    if mapping.file.lines is not None:
        reads = reads - inner | {mapping.file.lines}
    assert set(named) == reads - {"updated_at"}
    assert {column for column, needed in named.items() if needed == "needed"} - {"lines"} == mapping.columns


def test_the_mapping_on_the_page_about_imports_is_sound_and_reads_such_a_table() -> None:
    page = PAGE.with_name("import.md").read_text(encoding="utf-8")
    mapping = next(read_mapping(text) for text in blocks(page, "toml") if "# erp.toml" in text)
    table = (
        "Auftrag;Datum;Netto;E-Mail;Kundennummer;Artikel;Menge;Preis;Rabatt\n"
        "4711;02.03.2026 09:30;1.250,50;einkauf@acme.example;K-7;A-1;2;500,25;\n"
        "4711;;;;;A-2;1;260,00;10,00\n"
    )
    [one] = events(read_rows(table.splitlines(keepends=True), mapping, ndjson=False), mapping, EXPORT)
    assert isinstance(one, Made), one
    assert [line["amount"] for line in one.event["data"]["lines"]] == ["1000.5", "250"]
