"""Tables that people import."""

from __future__ import annotations

from contextlib import suppress
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.domain.csvs import COLUMNS, READERS, AccountRow, BadCell, BadFile, Cells, Rejected, read

BERLIN = ZoneInfo("Europe/Berlin")


def _rows(table: str, text: str) -> list[Cells | Rejected]:
    return list(read(text.encode(), COLUMNS[table]))


def test_lines_are_counted_as_an_editor_counts_them_also_behind_cells_with_line_breaks() -> None:
    rows = _rows("accounts", 'account,name\na,"A\nB"\n\nb,B,too many\nc,C\n')
    assert [(type(row).__name__, row.line) for row in rows] == [("Cells", 2), ("Rejected", 5), ("Cells", 6)]


def test_empty_cells_are_not_stated_and_days_begin_in_the_companys_zone() -> None:
    [cells] = _rows("accounts", "account,name,created_at,domains\na,A,2024-07-01, x.example | y.example |\n")
    assert isinstance(cells, Cells)
    row = READERS["accounts"](cells, BERLIN)
    assert isinstance(row, AccountRow)
    assert row.created_at is not None
    assert row.created_at.isoformat() == "2024-06-30T22:00:00+00:00"
    assert (row.domains, row.stage, row.account_class) == (("x.example", "y.example"), None, None)


@pytest.mark.parametrize(
    ("heading", "column"),
    [
        ("account", "name"),
        ("account,name,name", "name"),
        ("account,name,colour", "colour"),
        ("", "account"),
        ("account,,name", "heading"),
    ],
)
def test_a_wrong_heading_names_the_column(heading: str, column: str) -> None:
    with pytest.raises(BadFile) as refused:
        _rows("accounts", f"{heading}\nx\n")
    assert refused.value.column == column


@pytest.mark.parametrize(
    ("table", "line", "column"),
    [
        ("users", "email,name,role\na@b.example,A,boss", "role"),
        ("users", "email,name,role,time_zone\na@b.example,A,lead,Mars", "time_zone"),
        ("users", "email,name,role,issuer\na@b.example,A,lead,x", "subject"),
        ("users", "email,name,role,deputy_email\na@b.example,A,lead,b@b.example", "deputy_since"),
        ("accounts", "account,name,key_since\na,A,2026-02-30", "key_since"),
        ("accounts", "account,name,created_at\na,A,2026-02-20T10:00:00", "created_at"),
        ("accounts", "account,name,history_complete\na,A,maybe", "history_complete"),
        ("contacts", "contact,account,name,buying_centre,influence\nm,a,M,Q,6", "influence"),
        ("contacts", "contact,account,name,buying_centre,attitude\nm,a,M,Q," + "9" * 5000, "attitude"),
        ("contacts", "contact,account,name,roles\nm,a,M,champion", "buying_centre"),
        ("contacts", "contact,account,name,buying_centre,roles\nm,a,M,Q,king", "roles"),
        ("contacts", "contact,account,name,since,until\nm,a,M,2026-01-02,2026-01-01", "until"),
        ("domains", "account,domain\na,", "domain"),
    ],
)
def test_a_wrong_cell_names_its_column_and_a_remedy(table: str, line: str, column: str) -> None:
    [cells] = _rows(table, line + "\n")
    assert isinstance(cells, Cells)
    with pytest.raises(BadCell) as refused:
        READERS[table](cells, BERLIN)
    assert refused.value.column == column
    assert refused.value.remedy


@given(st.text(max_size=300))
def test_no_text_whatsoever_breaks_the_reader(text: str) -> None:
    complained: set[str] = set()
    for row in _rows("accounts", "account,name\n" + text.replace("\ud800", "")):
        if isinstance(row, Cells):
            try:
                READERS["accounts"](row, BERLIN)
            except BadCell as bad:
                complained.add(bad.column)
    assert complained <= set(COLUMNS["accounts"])


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_break_the_reader(content: bytes) -> None:
    with suppress(BadFile):
        list(read(content, COLUMNS["accounts"]))
