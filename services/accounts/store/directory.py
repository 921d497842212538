"""Who is known: identities, where contacts are, users of ours, rules."""

from collections.abc import Collection
from datetime import date

import asyncpg

from services.accounts.domain.identities import identity_key
from services.accounts.domain.matching import Directory, Link, Serving
from services.accounts.domain.reading import Rules
from services.accounts.domain.touch import TouchRule
from services.runtime import arrays


async def load(connection: asyncpg.Connection, keys: Collection[str]) -> Directory:
    """Return who is known under the identity keys `keys`, and all users of ours by address."""
    # What each identity names, over all time.
    rows = await connection.fetch(
        "select identity_key, account_id, contact_id, since, until from identity where identity_key ="
        " any($1::text[]) order by identity_key, since nulls first, id",
        arrays.texts(keys),
    )
    links: dict[str, list[Link]] = {}
    contacts: set[str] = set()
    for key, account_id, contact_id, since, until in rows:
        links.setdefault(key, []).append(Link(account_id, contact_id, since, until))
        if contact_id is not None:
            contacts.add(contact_id)
    servings: dict[str, list[Serving]] = {}
    if contacts:
        # The accounts at which those people are or were.
        for contact_id, account_id, since, until, primary in await connection.fetch(
            "select contact_id, account_id, since, until, is_primary from contact_account where contact_id ="
            " any($1::uuid[]) order by contact_id, since, account_id",
            arrays.ids(contacts),
        ):
            servings.setdefault(contact_id, []).append(Serving(account_id, since, until, primary))
    # Ours: a few dozen rows.
    rows = await connection.fetch("select id, email from app_user")
    users = {identity_key("address", row["email"]): row["id"] for row in rows}
    return Directory(links, servings, users)


async def load_rules(connection: asyncpg.Connection, directory: Directory) -> Rules:
    """Return the touch class rules in order, and the group roles of the directory's contacts."""
    # A handful of rows.
    rows = await connection.fetch(
        "select touch_class, position, field, patterns from touch_class_rule where active order by position, id"
    )
    touch = tuple(TouchRule(row["touch_class"], row["position"], row["field"], tuple(row["patterns"])) for row in rows)
    if not any(rule.field == "sender_role" for rule in touch):
        return Rules(touch)
    roles: dict[str, list[tuple[str, date, date | None]]] = {}
    # Only when a rule asks for the sender's role.
    for contact_id, role, since, until in await connection.fetch(
        "select contact_id, group_role, since, until from contact_role where contact_id = any($1::uuid[])",
        arrays.ids(directory.servings),
    ):
        roles.setdefault(contact_id, []).append((role, since, until))
    return Rules(touch, roles)
