"""Call detail records of Asterisk (`cdr_csv`): one record is one leg, `linkedid` is the call.

A record without `linkedid` (older than 1.8, or `newcdrcolumns` off) is a call of its own. Calls among our own
extensions concern no customer.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.ingest.domain.identities import Directory, one_line
from services.ingest.sources.rows.mapping import RowMapping
from services.ingest.sources.rows.values import BadCell, cell

COLUMNS = (
    "accountcode",
    "src",
    "dst",
    "dcontext",
    "clid",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
    "uniqueid",
    "userfield",
    "peeraccount",
    "linkedid",
    "sequence",
)
"""The order in which `cdr_csv` writes them; the file has no heading."""
_ALWAYS = COLUMNS.index("uniqueid")
_NEW = len(COLUMNS) - COLUMNS.index("peeraccount")


def columns_of(cells: int) -> Sequence[str]:
    """Return what the cells of a row are, by their number: which of the last there are cdr.conf says.

    `loguniqueid` and `loguserfield` add one each, `newcdrcolumns` three behind them. A single one of the first two is
    taken for the unique id, without which a row is nothing.
    """
    optional = cells - _ALWAYS
    has_new = optional >= _NEW
    single = optional - (_NEW if has_new else 0)
    return (
        (*COLUMNS[: _ALWAYS + min(single, 2)], *(COLUMNS[-_NEW:] if has_new else ()))
        if optional > 0
        else COLUMNS[:cells]
    )


_DISPOSITIONS = frozenset({"ANSWERED", "NO ANSWER", "NOANSWER", "BUSY", "FAILED", "CONGESTION"})
# What answers is no person.
_MACHINES = ("voicemail", "playback", "background", "read", "milliwatt", "echo", "record", "musiconhold")
_ENDPOINT = re.compile(r"[A-Za-z0-9]+/([^/@;-]+)")
_CALLER_NAME = re.compile(r'"([^"]*)"')
_LONGEST_CALL = 7 * 24 * 3600


class Internal(Exception):
    """The call is among ourselves."""


def leg(
    row: Mapping[str, Any], mapping: RowMapping, system: str, phones: Directory
) -> tuple[datetime, str, dict[str, Any]]:
    """Return when the leg began, the id of its call, and its data. Raises `BadCell`, `Internal`."""
    own = _needed(row, "uniqueid", "set loguniqueid=yes in cdr.conf; without it a call has no id")
    call = cell(row, "linkedid") or own
    sequence = cell(row, "sequence") or cell(row, "dstchannel") or "0"
    started = mapping.writing.moment("start", _needed(row, "start", "write when the call began"))
    disposition = (cell(row, "disposition") or "").upper()
    if disposition not in _DISPOSITIONS:
        known = ", ".join(sorted(_DISPOSITIONS))
        raise BadCell("disposition", f"is unknown: {disposition[:40]}", f"write one of {known}")
    outward = _is_outward(row, mapping, phones)
    answered = disposition == "ANSWERED" and _by_person(row)
    seconds = mapping.writing.whole("billsec", cell(row, "billsec") or "0")
    data: dict[str, Any] = {
        "leg": f"{own}/{sequence}"[:1024],
        "root": own == call,
        "direction": "out" if outward else "in",
        "answered_by_person": answered,
        "talk_seconds": min(max(seconds, 0), _LONGEST_CALL) if answered else 0,
        "references": [{"kind": "call", "value": f"{system}:{call}"}],
    }
    parties = _parties(row, system, phones, outward=outward)
    return started, call, data | ({"parties": parties} if parties else {})


def _needed(row: Mapping[str, Any], column: str, remedy: str) -> str:
    found = cell(row, column)
    if found is None:
        raise BadCell(column, "is empty", remedy)
    return found


def _by_person(row: Mapping[str, Any]) -> bool:
    """An answer by a machine of ours has no second channel, or ended in one of its applications."""
    app = (cell(row, "lastapp") or "").lower()
    return cell(row, "dstchannel") is not None and not app.startswith(_MACHINES)


def _is_outward(row: Mapping[str, Any], mapping: RowMapping, phones: Directory) -> bool:
    """Say whether one of ours called; raises `Internal` when one of ours was called, too."""
    extension = re.compile(mapping.asterisk.extensions)
    caller, called = cell(row, "src"), cell(row, "dst")
    endpoint = _ENDPOINT.match(cell(row, "channel") or "")

    def ours(number: str | None) -> bool:
        if number is None:
            return False
        if extension.fullmatch(number):
            return True
        whole = phones.phone(number)
        return whole is not None and whole.startswith(mapping.asterisk.own_numbers or ("\0",))

    outward = ours(caller) or (endpoint is not None and extension.fullmatch(endpoint[1]) is not None)
    # A destination without digits is a place in our own dial plan: s, h, a queue.
    inward = ours(called) or called is None or not any(sign.isdigit() for sign in called)
    if outward and inward:
        raise Internal
    return outward


def _parties(row: Mapping[str, Any], system: str, phones: Directory, *, outward: bool) -> list[dict[str, Any]]:
    theirs, mine = ("dst", "src") if outward else ("src", "dst")
    parties: list[dict[str, Any]] = []
    number = phones.phone(cell(row, theirs) or "")
    if number is not None:
        party: dict[str, Any] = {
            "role": "callee" if outward else "caller",
            "identities": [{"kind": "phone", "value": number}],
        }
        named = None if outward else _CALLER_NAME.match(cell(row, "clid") or "")
        name = one_line(named[1]) if named else None
        # Most send the number as the name.
        if name is not None and any(sign.isalpha() for sign in name):
            party["name"] = name
        parties.append(party)
    line = cell(row, mine)
    if line is not None:
        parties.append(
            {
                "role": "caller" if outward else "callee",
                "identities": [{"kind": "person", "value": f"{system}:line:{line}"[:1024]}],
                "ours": True,
            }
        )
    return parties
