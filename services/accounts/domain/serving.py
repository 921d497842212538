"""Where a contact is, beside a move: serving an account too, and what a repeated row of a table says of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from services.accounts.domain.intervals import FOREVER, Interval
from services.accounts.domain.matching import Serving
from services.accounts.domain.merging import where_none


def serve_also(servings: Sequence[Serving], account_id: str, since: date, until: date | None) -> list[Serving]:
    """A contact serves an account beside the present one on those days; its other spells there stay as they are.

    On days on which that account is the primary one nothing is added to it; of what was said of it beside another, this
    replaces what falls on the same days.
    """
    days = Interval(account_id, since, until)
    primary = [one for one in servings if one.account_id == account_id and one.primary]
    kept = [one for one in servings if one.account_id != account_id or one.primary or _is_apart(one, days)]
    added = where_none([Interval(one.account_id, one.since, one.until) for one in primary], days)
    return [*kept, *[Serving(account_id, part.since, part.until, primary=False) for part in added]]


def _is_apart(one: Serving, days: Interval[str]) -> bool:
    spell = Interval(days.value, one.since, one.until)
    return where_none([days], spell) == [spell]


def restate(servings: Sequence[Serving], account_id: str, since: date | None, until: date | None) -> list[Serving]:
    """Return where a contact is according to a row that names an account; a day that is None is not said anew.

    A row says something of one spell at the account: of that which begins or holds on its first day, else of the next
    one, without a first day of the last. One that begins when all have ended is another spell.
    """
    here = sorted((one for one in servings if one.account_id == account_id), key=lambda one: one.since)
    if not here:
        return [*servings, Serving(account_id, since or FOREVER, until, primary=not servings)]
    meant = _meant(here, since)
    if meant is None:
        return [*servings, Serving(account_id, since or FOREVER, until, here[-1].primary)]
    changed = replace(meant, since=since or meant.since, until=until or meant.until)
    return [changed if one is meant else one for one in servings]


def _meant(here: Sequence[Serving], since: date | None) -> Serving | None:
    if since is None:
        return here[-1]
    begins = [one for one in here if one.since == since]
    holds = [one for one in here if one.holds_on(since)]
    follows = [one for one in here if one.since > since]
    return next(iter([*begins, *holds, *follows]), None)
