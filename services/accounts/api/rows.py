"""What one imported row does. A row that says what is known already changes nothing."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from uuid6 import uuid7

from services.accounts.api.access import Edit
from services.accounts.api.people import store_user
from services.accounts.domain.csvs import AccountRow, BadCell, ContactRow, DomainRow, UserRow
from services.accounts.domain.identities import BadIdentity, IdentityKind, identity_key, normalise
from services.accounts.domain.intervals import FOREVER, Interval, Taken, assign, change, include
from services.accounts.domain.matching import Link, Serving
from services.accounts.domain.serving import restate

_NAMED = True


async def apply_row(edit: Edit, row: UserRow | AccountRow | ContactRow | DomainRow, region: str) -> None:
    """Apply one row; raises `BadCell` where it contradicts what is known or names somebody unknown."""
    match row:
        case UserRow():
            await _user(edit, row, region)
        case AccountRow():
            await _account(edit, row, region)
        case ContactRow():
            await _contact(edit, row, region)
        case DomainRow():
            account = await _known_account(edit, row.account, "account")
            await _link(edit, "domain", row.domain, Link(account, None, row.since), "domain", region)


async def _user(edit: Edit, row: UserRow, region: str) -> None:
    email = _normal("address", row.email, "email", region)
    known = (await edit.tables.users_by_email([email])).get(email)
    before = await edit.tables.user(known) if known else None
    if before is None and row.time_zone is None:
        raise BadCell("time_zone", "is empty", "write one like Europe/Berlin")
    user: dict[str, Any] = {
        "id": known or str(uuid7()),
        "issuer": None,
        "subject": None,
        "holidays": None,
        "team_id": None,
        "mailboxes": [],
        "active": True,
        **(before or {}),
        "email": email,
        "name": row.name,
        "user_role": row.role,
    }
    user |= {
        name: value
        for name in ("issuer", "subject", "time_zone", "holidays")
        if (value := getattr(row, name)) is not None
    }
    if row.mailboxes:
        user["mailboxes"] = list(row.mailboxes)
    if row.issuer is not None and row.subject is not None:
        holder = await edit.tables.identity_of_token(row.issuer, row.subject)
        if holder is not None and holder != user["id"]:
            raise BadCell("subject", "belongs to another user", "give every user a subject of its own")
    if row.team is not None:
        user["team_id"] = await edit.tables.team(row.team, str(uuid7()))
    await store_user(edit, before["email"] if before else None, user)
    if row.deputy is not None and row.deputy_since is not None:
        deputy = await _known_user(edit, row.deputy, "deputy_email")
        if deputy == user["id"]:
            raise BadCell("deputy_email", "is the user's own", "name somebody else")
        await edit.tables.set_deputy(user["id"], deputy, row.deputy_since, row.deputy_until)


async def _account(edit: Edit, row: AccountRow, region: str) -> None:
    known = await edit.tables.named_account(f"key:{row.key}")
    if known is not None and known["merged_into"] is not None:
        # Two rows of one account: the one that stayed has its own; this one only says how it is known.
        survivor = (await edit.tables.surviving([known["id"]]))[known["id"]]
        await _known_as(edit, survivor, row, region)
        return
    account = known["id"] if known is not None else str(uuid7())
    created = row.created_at or edit.now
    if known is None:
        await edit.tables.insert_account(account, row.key, row.name, created)
    await edit.tables.update_account(
        account,
        {"name": row.name, "account_class": row.account_class, "currency": row.currency, "created_at": row.created_at},
    )
    edit.accounts.add(account)
    first = edit.today if known else created.astimezone(edit.zone).date()
    if row.owner is not None:
        await _hold(edit, account, "owner", await _known_user(edit, row.owner, "owner_email"), row.owner_since, first)
    if row.stage is not None:
        await _hold(edit, account, "stage", row.stage, row.stage_since, first)
    if row.key_since is not None:
        await _hold(edit, account, "key", _NAMED, row.key_since, first)
    if row.parent is not None:
        parent = await _known_account(edit, row.parent, "parent")
        if account in await edit.tables.ancestors(parent):
            raise BadCell(
                "parent", "is below this account or is the account itself", "choose an account that is not below it"
            )
        await _hold(edit, account, "parent", parent, row.parent_since, first)
    await _team(edit, account, row.team, first)
    await _known_as(edit, account, row, region)
    if row.history_complete:
        await edit.tables.set_history_complete([account], edit.now)


async def _known_as(edit: Edit, account: str, row: AccountRow, region: str) -> None:
    for domain in row.domains:
        await _link(edit, "domain", domain, Link(account, None), "domains", region)
    for organisation in row.organisations:
        await _link(edit, "organisation", organisation, Link(account, None), "organisations", region)


async def _hold(edit: Edit, account: str, sort: str, value: Any, since: date | None, first: date) -> None:  # noqa: PLR0917 - private, called by this module only
    """Let a value hold from a day on, unless it does so on that day already; without a day: unless it holds now.

    What was said of later days stands then: a file that comes again knows nothing of it.
    """
    before = await edit.tables.intervals(account, sort)
    if any(entry.value == value and entry.holds_on(since or edit.today) for entry in before):
        return
    after: list[Interval[Any]] = change(before, value, since or first)
    if after != before:
        await edit.tables.set_intervals(account, sort, after)


async def _team(edit: Edit, account: str, emails: Sequence[str], first: date) -> None:
    if not emails:
        return
    before = after = await edit.tables.intervals(account, "team")
    for email in emails:
        user = await _known_user(edit, email, "team_emails")
        if not any(entry.value[0] == user and entry.until is None for entry in after):
            after = include(after, (user, "member"), first)
    if after != before:
        await edit.tables.set_intervals(account, "team", after)


async def _contact(edit: Edit, row: ContactRow, region: str) -> None:
    account = await _known_account(edit, row.account, "account")
    known = (await edit.tables.contacts_by_key([row.key])).get(row.key)
    contact = known or str(uuid7())
    await edit.tables.save_contact(contact, row.key, row.name, edit.now)
    before = await edit.tables.servings(contact)
    after = _serving(before, account, row)
    if after != before:
        await edit.tables.set_servings(contact, after)
        edit.keys.update(await edit.tables.keys_of_contact(contact))
    identities: tuple[tuple[IdentityKind, str, tuple[str, ...]], ...] = (
        ("address", "addresses", row.addresses),
        ("phone", "phones", row.phones),
        ("person", "persons", row.persons),
    )
    for kind, column, values in identities:
        for value in values:
            await _link(edit, kind, value, Link(None, contact), column, region)
    edit.accounts.update(serving.account_id for serving in after)
    if row.buying_centre is not None:
        await _member(edit, row, account, contact)


def _serving(before: list[Serving], account: str, row: ContactRow) -> list[Serving]:
    after = restate(before, account, row.since, row.until)
    if any(one.until is not None and one.until <= one.since for one in after):
        raise BadCell("until", "is not after the first day there", "give a later day, or an earlier one in since")
    return after


async def _member(edit: Edit, row: ContactRow, account: str, contact: str) -> None:
    assert row.buying_centre is not None  # noqa: S101 - asked by the caller
    named = await edit.tables.named_account(f"key:{row.account}")
    came_with = named["id"] if named is not None and named["id"] != account else None
    centre = await edit.tables.centre(account, row.buying_centre, str(uuid7()), came_with)
    await edit.tables.save_member(centre, contact, row.influence, row.attitude, None)
    before = after = await edit.tables.roles(centre, contact)
    since = row.role_since or row.since or FOREVER
    for role in row.roles:
        # Whoever ended it since knew more than the file that comes again.
        if not any(entry.value == role and entry.since == since for entry in after):
            after = include(after, role, since)
    if after != before:
        await edit.tables.set_roles(centre, contact, after)
        edit.keys.update(await edit.tables.keys_of_contact(contact))


async def _link(edit: Edit, kind: IdentityKind, value: str, to: Link, column: str, region: str) -> None:  # noqa: PLR0917 - private, called by this module only
    key = identity_key(kind, _normal(kind, value, column, region))
    before = (await edit.tables.links([key])).get(key, [])
    try:
        after = assign(before, to)
    except Taken:
        raise BadCell(
            column, f"holds a {kind} that names somebody else already", "correct it or move it from a date over the API"
        ) from None
    if after != before:
        await edit.tables.set_links(kind, key, after)
        edit.keys.add(key)


def _normal(kind: IdentityKind, value: str, column: str, region: str) -> str:
    try:
        return normalise(kind, value, region=region)
    except BadIdentity as bad:
        reason, _, remedy = str(bad).partition("; ")
        raise BadCell(column, reason, remedy or f"write a {kind}") from None


async def _known_user(edit: Edit, email: str, column: str) -> str:
    found = (await edit.tables.users_by_email([email.lower()])).get(email.lower())
    if found is None:
        raise BadCell(column, "names no user", "import the user first, or correct the address")
    return found


async def _known_account(edit: Edit, key: str, column: str) -> str:
    found = (await edit.tables.accounts_by_key([key])).get(key)
    if found is None:
        raise BadCell(column, "names no account", "import the account first, or correct its key")
    return found
