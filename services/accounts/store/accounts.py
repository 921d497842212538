"""What an account, a user, a team is now, and its publication on `tenure.accounts`.

Published only when it differs from what was published last: an import of the same file twice says nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import asyncpg

from contracts.accounts import Account, AccountContact, Deputy, RoleInGroup, Team, User, WorkingHours
from contracts.codec import encode
from contracts.envelope import Envelope
from contracts.topics import ACCOUNTS
from contracts.values import Dated, Model
from services.accounts.store.interactions import draw_versions
from services.runtime.outbox import OutboxMessage, append


@dataclass(frozen=True, slots=True)
class Again:
    """Everything is said, not only what differs: with the versions that it has, or under new ones."""

    run_id: str
    fresh_versions: bool


async def publish(
    connection: asyncpg.Connection,
    now: datetime,
    *,
    accounts: Collection[str] = (),
    users: Collection[str] = (),
    teams: Collection[str] = (),
    again: Again | None = None,
) -> int:
    """Append what changed of these to the outbox, or, with `again`, all of them. Return how many were said.

    `now` is the system's clock. Accounts, users and teams are locked in order; call it last in a transaction.
    """
    messages = await _accounts(connection, now, sorted(set(accounts)), again)
    await _lock(connection, "app_user", users)
    messages += await _people(connection, now, User, await load_users(connection, users), again)
    await _lock(connection, "team", teams)
    messages += await _people(connection, now, Team, await load_teams(connection, teams), again)
    await append(connection, messages)
    return len(messages)


async def _accounts(
    connection: asyncpg.Connection, now: datetime, ids: list[str], again: Again | None
) -> list[OutboxMessage]:
    if not ids:
        return []
    # Locked before it is read: what is published is what was committed last.
    rows = await connection.fetch(
        "select id, state_digest, state_version from account where id = any($1::text[]::uuid[]) order by id for update",
        ids,
    )
    published = {row["id"]: row["state_digest"] for row in rows}
    versions = {row["id"]: row["state_version"] for row in rows}
    loaded = await load_accounts(connection, ids)
    digests = {account.account_id: _digest(account) for account in loaded}
    fresh = again is not None and again.fresh_versions
    changed = [id_ for id_, digest in digests.items() if fresh or published[id_] != digest]
    if changed:
        drawn = await draw_versions(connection, dict.fromkeys(changed, 1))
        versions |= {id_: version.last for id_, version in drawn.items()}
        # The version under which attributions are read from now on.
        await connection.execute(
            "update account set state_version = version, state_digest = new.digest from unnest($1::text[]::uuid[],"
            " $2::bytea[]) as new (id, digest) where account.id = new.id",
            changed,
            [digests[id_] for id_ in changed],
        )
    said = loaded if again is not None else [account for account in loaded if account.account_id in set(changed)]
    return [
        _message(
            "account",
            account.account_id,
            account.model_copy(update={"version": versions[account.account_id]}),
            now,
            again,
        )
        for account in said
    ]


async def _lock(connection: asyncpg.Connection, table: str, ids: Collection[str]) -> None:
    """Lock users or teams before they are read, as accounts are: what is said last is what was committed last."""
    if ids:
        # Deputies refer to users: rows that name one do not have to wait for this.
        await connection.execute(
            f"select from {table} where id = any($1::text[]::uuid[]) order by id for no key update",
            list(ids),
        )


async def _people(
    connection: asyncpg.Connection,
    now: datetime,
    kind: type[User] | type[Team],
    loaded: Iterable[User | Team],
    again: Again | None,
) -> list[OutboxMessage]:
    table, name = ("app_user", "user") if kind is User else ("team", "team")
    messages = []
    for one in loaded:
        id_ = one.user_id if isinstance(one, User) else one.team_id
        # The row is locked, so versions follow the order of commits; 1099511627776 is 2^40.
        version = await connection.fetchval(
            f"update {table} set state_digest = $2, version = case when $3 or state_digest is distinct from $2 then"  # noqa: S608 - names of our own
            " greatest(version, (select epoch from version_epoch) * 1099511627776) + 1 else version end"
            " where id = $1::text::uuid and ($4 or state_digest is distinct from $2) returning version",
            id_,
            _digest(one),
            again is not None and again.fresh_versions,
            again is not None,
        )
        if version is not None:
            messages.append(_message(name, id_, one.model_copy(update={"version": version}), now, again))
    return messages


def _digest(state: Model) -> bytes:
    return blake2b(encode(state), digest_size=16).digest()


def _message(sort: str, id_: str, state: Account | User | Team, now: datetime, again: Again | None) -> OutboxMessage:
    envelope = Envelope(
        id=f"{id_}.{state.version}",
        source="/accounts",
        type=state.TYPE,
        subject=id_,
        time=now,
        recordedtime=now,
        republished=None if again is None else again.run_id,
    )
    return OutboxMessage(ACCOUNTS, f"{sort}:{id_}", envelope, encode(state))


async def load_accounts(connection: asyncpg.Connection, ids: Collection[str]) -> list[Account]:
    """Return accounts with version 0, in order of id."""
    # One query per table.
    rows = await connection.fetch(
        "select id, name, created_at, account_class, currency, history_complete_at, merged_into from account where id"
        " = any($1::text[]::uuid[]) order by id",
        list(ids),
    )
    # A merged account is an alias and nothing else: what is dated about it waits, unsaid, until it is unmerged.
    standing = [row["id"] for row in rows if row["merged_into"] is None]
    intervals = await _intervals(connection, standing)
    contacts = await _contacts(connection, standing)
    return [
        Account.model_validate(
            {
                "account_id": row["id"],
                "version": 0,
                "name": row["name"],
                "created_at": row["created_at"],
                "account_class": row["account_class"],
                "currency": row["currency"],
                "history_complete_at": row["history_complete_at"],
                "stages": intervals[row["id"], "stage"],
                "key": intervals[row["id"], "key"],
                "owners": intervals[row["id"], "owner"],
                "team": intervals[row["id"], "team"],
                "parents": intervals[row["id"], "parent"],
                "contacts": contacts[row["id"]],
                "merged_into": row["merged_into"],
            }
        )
        for row in rows
    ]


async def _intervals(
    connection: asyncpg.Connection, ids: Collection[str]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    # Everything dated, in one order.
    rows = await connection.fetch(
        "select account_id, sort, user_id, team_role, stage, is_key, surviving_account(parent_id) as parent_id, since,"
        " until from account_interval where account_id = any($1::text[]::uuid[]) order by account_id, sort, since,"
        " user_id, parent_id",
        list(ids),
    )
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        sort = row["sort"]
        value: Any = {
            "owner": row["user_id"],
            "stage": row["stage"],
            "key": row["is_key"],
            "parent": row["parent_id"],
        }.get(sort)
        if sort == "team":
            value = {"user_id": row["user_id"], "role": row["team_role"]}
        grouped[row["account_id"], sort].append({"value": value, "since": row["since"], "until": row["until"]})
    return grouped


async def _contacts(connection: asyncpg.Connection, ids: Collection[str]) -> dict[str, list[AccountContact]]:
    # Roles per account and contact.
    roles: dict[tuple[str, str], list[Dated[RoleInGroup]]] = defaultdict(list)
    for row in await connection.fetch(
        "select centre.account_id, role.contact_id, centre.name, role.group_role, role.since, role.until"
        " from contact_role as role join buying_centre as centre on centre.id = role.buying_centre_id"
        " where centre.account_id = any($1::text[]::uuid[]) order by centre.account_id, role.contact_id,"
        " role.since, centre.name, role.group_role",
        list(ids),
    ):
        value = RoleInGroup(buying_centre=row["name"], role=row["group_role"])
        roles[row["account_id"], row["contact_id"]].append(
            Dated[RoleInGroup](value=value, since=row["since"], until=row["until"])
        )
    contacts: dict[str, list[AccountContact]] = defaultdict(list)
    # People, once for each time that they were at the account.
    for row in await connection.fetch(
        "select there.account_id, there.contact_id, contact.name, there.since, there.until"
        " from contact_account as there join contact on contact.id = there.contact_id"
        " where there.account_id = any($1::text[]::uuid[]) order by there.account_id, there.contact_id, there.since",
        list(ids),
    ):
        account, contact = row["account_id"], row["contact_id"]
        contacts[account].append(
            AccountContact(
                contact_id=contact,
                name=row["name"],
                roles=tuple(roles[account, contact]),
                since=row["since"],
                until=row["until"],
            )
        )
    return contacts


async def load_users(connection: asyncpg.Connection, ids: Collection[str]) -> list[User]:
    """Return users with version 0, in order of id."""
    if not ids:
        return []
    deputies: dict[str, list[Deputy]] = defaultdict(list)
    # Who stands in for them.
    for row in await connection.fetch(
        "select user_id, for_user_id, since, until from deputy where for_user_id = any($1::text[]::uuid[]) order"
        " by for_user_id, since, user_id",
        list(ids),
    ):
        deputies[row["for_user_id"]].append(
            Deputy(user_id=row["user_id"], for_user_id=row["for_user_id"], since=row["since"], until=row["until"])
        )
    # The users themselves.
    rows = await connection.fetch(
        "select id, email, name, user_role, team_id, issuer, subject, time_zone, holidays, mailboxes, active from"
        " app_user where id = any($1::text[]::uuid[]) order by id",
        list(ids),
    )
    return [
        User(
            user_id=row["id"],
            version=0,
            name=row["name"],
            email=row["email"],
            role=row["user_role"],
            team_id=row["team_id"],
            issuer=row["issuer"],
            subject=row["subject"],
            working_hours=WorkingHours(time_zone=row["time_zone"], holidays=row["holidays"]),
            mailboxes=tuple(row["mailboxes"]),
            deputies=tuple(deputies[row["id"]]),
            active=row["active"],
        )
        for row in rows
    ]


async def load_teams(connection: asyncpg.Connection, ids: Collection[str]) -> list[Team]:
    """Return teams with version 0, in order of id."""
    if not ids:
        return []
    # A handful of rows.
    rows = await connection.fetch(
        "select id, name, lead_id from team where id = any($1::text[]::uuid[]) order by id", list(ids)
    )
    return [Team(team_id=row["id"], version=0, name=row["name"], lead_id=row["lead_id"]) for row in rows]
