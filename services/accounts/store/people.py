"""Contacts, decision groups, users, teams and rules, as people change them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from services.accounts.domain.intervals import Interval

_USER_COLUMNS = (
    "id",
    "email",
    "name",
    "user_role",
    "team_id",
    "issuer",
    "subject",
    "time_zone",
    "holidays",
    "mailboxes",
    "active",
)


class PeopleTables:
    """Part of `EditTables`: one or two statements for each method."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._people = connection

    async def contacts_by_key(self, keys: Collection[str]) -> dict[str, str]:
        """Return contact ids by external key."""
        rows = await self._people.fetch(
            "select external_key, id from contact where external_key = any($1::text[])", list(keys)
        )
        return {row["external_key"]: row["id"] for row in rows}

    async def contact_exists(self, contact_id: str) -> bool:
        """Say whether there is such a contact."""
        return bool(await self._people.fetchval("select exists (select from contact where id = $1)", contact_id))

    async def save_contact(self, contact_id: str, key: str | None, name: str, now: datetime) -> None:
        """Add a contact or rename it."""
        await self._people.execute(
            "insert into contact (id, external_key, name, created_at) values ($1, $2, $3, $4)"
            " on conflict (id) do update set name = excluded.name where contact.name <> excluded.name",
            contact_id,
            key,
            name,
            now,
        )

    async def centre(self, account_id: str, name: str, new_id: str, came_with: str | None = None) -> str:
        """Return the buying centre of that name, made under `new_id` when there is none.

        `came_with`: a merged account; the one that it had under that name is meant, where it had one.
        """
        if came_with is not None:
            brought = await self._people.fetchval(
                "select id from buying_centre where account_id = $1 and origin_id = $2 and coalesce(name_before, name)"
                " = $3",
                account_id,
                came_with,
                name,
            )
            if brought is not None:
                return str(brought)
        # The name is unique within the account.
        await self._people.execute(
            "insert into buying_centre (id, account_id, name) values ($1, $2, $3) on conflict (account_id, name)"
            " do nothing",
            new_id,
            account_id,
            name,
        )
        return str(
            await self._people.fetchval(
                "select id from buying_centre where account_id = $1 and name = $2", account_id, name
            )
        )

    async def centre_account(self, centre_id: str) -> str | None:
        """Return whose buying centre it is."""
        found = await self._people.fetchval("select account_id from buying_centre where id = $1", centre_id)
        return None if found is None else str(found)

    async def save_member(
        self, centre_id: str, contact_id: str, influence: int | None, attitude: int | None, reports_to: str | None
    ) -> None:
        """Add a member of a buying centre or change what is known; what is not given stays."""
        await self._people.execute(
            "insert into group_member (buying_centre_id, contact_id, influence, attitude, reports_to) values ($1,"
            " $2, $3, $4, $5) on conflict (buying_centre_id, contact_id) do update set influence ="
            " coalesce(excluded.influence, group_member.influence), attitude = coalesce(excluded.attitude,"
            " group_member.attitude), reports_to = coalesce(excluded.reports_to, group_member.reports_to)",
            centre_id,
            contact_id,
            influence,
            attitude,
            reports_to,
        )

    async def roles(self, centre_id: str, contact_id: str) -> list[Interval[str]]:
        """Return the roles of a member, over all time."""
        rows = await self._people.fetch(
            "select group_role, since, until from contact_role where buying_centre_id = $1 and contact_id = $2"
            " order by since, group_role",
            centre_id,
            contact_id,
        )
        return [Interval(row["group_role"], row["since"], row["until"]) for row in rows]

    async def set_roles(self, centre_id: str, contact_id: str, roles: Sequence[Interval[str]]) -> None:
        """Replace the roles of a member."""
        await self._people.execute(
            "delete from contact_role where buying_centre_id = $1 and contact_id = $2", centre_id, contact_id
        )
        await self._people.executemany(
            "insert into contact_role (buying_centre_id, contact_id, group_role, since, until) values ($1, $2,"
            " $3, $4, $5)",
            [(centre_id, contact_id, role.value, role.since, role.until) for role in roles],
        )

    async def remove_member(self, centre_id: str, contact_id: str) -> None:
        """Take a contact out of a buying centre, as if it had never been in it."""
        await self._people.execute(
            "delete from contact_role where buying_centre_id = $1 and contact_id = $2", centre_id, contact_id
        )
        await self._people.execute(
            "delete from group_member where buying_centre_id = $1 and contact_id = $2", centre_id, contact_id
        )

    async def users_by_email(self, emails: Collection[str]) -> dict[str, str]:
        """Return user ids by address."""
        rows = await self._people.fetch("select email, id from app_user where email = any($1::text[])", list(emails))
        return {row["email"]: row["id"] for row in rows}

    async def user(self, user_id: str) -> Mapping[str, Any] | None:
        """Return a user's own row."""
        row = await self._people.fetchrow(
            "select id, email, name, user_role, team_id, issuer, subject, time_zone, holidays, mailboxes, active"
            " from app_user where id = $1",
            user_id,
        )
        return None if row is None else dict(row)

    async def identity_of_token(self, issuer: str, subject: str) -> str | None:
        """Return the user that an (issuer, subject) is."""
        found = await self._people.fetchval(
            "select id from app_user where issuer = $1 and subject = $2", issuer, subject
        )
        return None if found is None else str(found)

    async def save_user(self, user: Mapping[str, Any]) -> None:
        """Add a user or change all fields of one; `user` holds every column."""
        # Changed only where something differs, so that a repeated import writes nothing.
        await self._people.execute(
            "insert into app_user (id, email, name, user_role, team_id, issuer, subject, time_zone, holidays,"
            " mailboxes, active) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do update"
            " set email = excluded.email, name = excluded.name, user_role = excluded.user_role, team_id ="
            " excluded.team_id, issuer = excluded.issuer, subject = excluded.subject, time_zone ="
            " excluded.time_zone, holidays = excluded.holidays, mailboxes = excluded.mailboxes, active ="
            " excluded.active",
            *[user[column] for column in _USER_COLUMNS],
        )

    async def team(self, name: str, new_id: str) -> str:
        """Return the team of that name, made under `new_id` when there is none."""
        await self._people.execute(
            "insert into team (id, name) values ($1, $2) on conflict (name) do nothing", new_id, name
        )
        return str(await self._people.fetchval("select id from team where name = $1", name))

    async def team_exists(self, team_id: str) -> bool:
        """Say whether there is such a team."""
        return bool(await self._people.fetchval("select exists (select from team where id = $1)", team_id))

    async def save_team(self, team_id: str, name: str | None, lead_id: str | None) -> None:
        """Rename a team or give it a lead; None leaves as it is."""
        await self._people.execute(
            "update team set name = coalesce($2, name), lead_id = coalesce($3, lead_id) where id = $1",
            team_id,
            name,
            lead_id,
        )

    async def set_deputy(self, for_user_id: str, user_id: str, since: date, until: date | None) -> None:
        """Let `user_id` stand in for `for_user_id` on those days."""
        await self._people.execute(
            "insert into deputy (user_id, for_user_id, since, until) values ($1, $2, $3, $4)"
            " on conflict (for_user_id, user_id, since) do update set until = excluded.until",
            user_id,
            for_user_id,
            since,
            until,
        )

    async def remove_deputy(self, for_user_id: str, user_id: str, since: date) -> bool:
        """Take a deputy's days back; say whether there were any."""
        done = await self._people.execute(
            "delete from deputy where for_user_id = $1 and user_id = $2 and since = $3", for_user_id, user_id, since
        )
        return bool(done == "DELETE 1")

    async def save_rule(self, rule: Mapping[str, Any]) -> None:
        """Add a touch class rule or change all fields of one."""
        await self._people.execute(
            "insert into touch_class_rule (id, name, touch_class, position, field, patterns, active) values ($1,"
            " $2, $3, $4, $5, $6, $7) on conflict (id) do update set name = excluded.name, touch_class ="
            " excluded.touch_class, position = excluded.position, field = excluded.field, patterns ="
            " excluded.patterns, active = excluded.active",
            rule["id"],
            rule["name"],
            rule["touch_class"],
            rule["position"],
            rule["field"],
            rule["patterns"],
            rule["active"],
        )

    async def rule_exists(self, rule_id: str) -> bool:
        """Say whether there is such a rule."""
        return bool(await self._people.fetchval("select exists (select from touch_class_rule where id = $1)", rule_id))
