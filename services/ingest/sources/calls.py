"""What telephony providers have in common: one report per leg, and numbers read as the site's own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator

from contracts.identities import is_withheld, normalise_phone, number_in
from contracts.values import Kind, Party, PartyRole
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Origin
from services.ingest.domain.places import Region
from services.ingest.domain.provider import Options
from services.ingest.domain.reports import key_of, reference_to

TERMINAL = 1 << 60
"""Added to a leg's order when nothing more will be said about it: such a report stands above every earlier one."""
LONGEST_CALL = 7 * 24 * 3600


class SiteOptions(Options):
    """A telephone system that stands somewhere."""

    default_region: Region | None = None
    """ISO 3166 code of the country whose national numbers this site shows; left out: the company's."""


def _number_or_block(text: str) -> str:
    compact = "".join(text.split())
    number, block = compact.removesuffix("*"), compact.endswith("*")
    if not number.startswith("+") or not number[1:].isdigit():
        raise ValueError("must be like +49301234567, or +4930123* for a block of numbers")
    if not block and normalise_phone(number) != number:
        raise ValueError("has too few or too many digits for a telephone number")
    return compact


NumberOrBlock = Annotated[str, AfterValidator(_number_or_block)]


def is_among(number: str, own: Sequence[str]) -> bool:
    """Say whether a number is one of `own`: numbers in E.164, blocks with a star."""
    plain = number.partition(";")[0]
    return any(plain.startswith(one[:-1]) if one.endswith("*") else plain == one for one in own)


def endpoint(directory: Directory, role: PartyRole, uri: str, origin: Origin, *, ours: bool) -> Party | None:
    """Return who is at an end of a leg: a number, a SIP address, or a client of the provider; None: it names nobody."""
    if is_withheld(uri):
        # "sip:anonymous@anonymous.invalid" would be one person for all who hide their number.
        return None
    person = None
    if uri.startswith("client:"):
        person = origin.named(uri)
    elif uri.startswith(("sip:", "sips:")) and number_in(uri) is None:
        person = uri.partition(";")[0].partition("?")[0].lower()
    return directory.party(role, phone=uri, person=person, ours=ours)


def seconds_between(since: datetime, until: datetime) -> int:
    """Return whole seconds, never negative, at most a week."""
    return min(max(int((until - since).total_seconds()), 0), LONGEST_CALL)


def leg_report(
    origin: Origin, call: str, *, leg: str, report: str, order: int, body: bytes, linked: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what every report about a leg of the provider's `call` states. `linked`: calls that belong together."""
    return {
        "interaction": key_of(Kind.CALL, origin.system, call),
        "report": report,
        "revision": origin.revision(order, body),
        "source": origin.source,
        "references": tuple(reference_to("call", origin.named(one)) for one in dict.fromkeys((call, *linked))),
        "leg": leg,
    }


def entries_of(moments: Mapping[str, datetime | None]) -> tuple[dict[str, Any], ...]:
    """Return dated entries of those that are known."""
    return tuple({"kind": kind, "at": at} for kind, at in moments.items() if at is not None)
