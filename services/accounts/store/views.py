"""What the API shows. Runs as the reading role: row-level security leaves out what the caller may not see.

Every row is a mapping of JSON-ready values; moments are aware, ids text.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from contracts.values import json_safe
from services.accounts.store import accounts
from services.accounts.store.doubles import DoubleViews

Row = dict[str, Any]


def _rows(records: Sequence[asyncpg.Record]) -> list[Row]:
    return [dict(record) for record in records]


class Views(DoubleViews):
    """The reading side of one transaction that carries the caller's scope."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def begin(self, today: date) -> None:
        """Say which day it is for the company: deputies and owners are asked for it."""
        await self._connection.execute("select set_config('tenure.today', $1, true)", today.isoformat())

    async def me(self) -> Row | None:
        """Return the calling user."""
        row = await self._connection.fetchrow(
            "select id, email, name, user_role as role, team_id from app_user where id = (select calling_user())"
        )
        return None if row is None else dict(row)

    async def find_account(self, reference: str) -> str | None:
        """Return the id of an account given by id or `key:<external key>`."""
        # A merged one's id and key name the account that stayed. Keys of accounts that the caller does not see are
        # looked up by a function with the owner's rights; what it finds must be visible all the same.
        query = (
            "select id from account where id = surviving_account(account_of_key($1))"
            if reference.startswith("key:")
            else "select id from account where id = surviving_account($1::text::uuid)"
        )
        return await self._connection.fetchval(query, reference.removeprefix("key:"))  # type: ignore[no-any-return]

    async def find_contact(self, reference: str) -> str | None:
        """Return the id of a contact given by id or `key:<external key>`."""
        if reference.startswith("key:"):
            return await self._connection.fetchval("select id from contact where external_key = $1", reference[4:])  # type: ignore[no-any-return]
        return await self._connection.fetchval("select id from contact where id = $1::text::uuid", reference)  # type: ignore[no-any-return]

    async def list_accounts(
        self, day: date, search: str | None, after: tuple[str, str] | None, limit: int
    ) -> list[Row]:
        """Return accounts by name, then id, with who owns them and their stage on `day`."""
        name, id_ = after if after is not None else (None, None)
        return _rows(
            await self._connection.fetch(
                "select account.id, account.external_key as key, account.name, account.account_class,"
                " account.currency, account.history_complete_at, owner.user_id as owner_id, app_user.name as"
                " owner_name, stage.stage from account left join account_interval as owner on owner.account_id ="
                " account.id and owner.sort = 'owner' and owner.since <= $1 and (owner.until is null or $1 <"
                " owner.until) left join app_user on app_user.id = owner.user_id left join account_interval as"
                " stage on stage.account_id = account.id and stage.sort = 'stage' and stage.since <= $1 and"
                " (stage.until is null or $1 < stage.until) where account.merged_into is null and ($2::text is null or"
                " account.name ilike '%' || $2"
                " || '%' or account.external_key = $2) and ($3::text is null or (account.name, account.id) > ($3,"
                " $4::text::uuid)) order by account.name, account.id limit $5",
                day,
                search,
                name,
                id_,
                limit,
            )
        )

    async def account(self, account_id: str) -> Row | None:
        """Return one account with its history, contacts and roles, as it is published, and how it is known."""
        loaded = await accounts.load_accounts(self._connection, [account_id])
        if not loaded:
            return None
        row = await self._connection.fetchrow(
            "select external_key, version, state_version from account where id = $1", account_id
        )
        assert row is not None  # noqa: S101 - it was just there
        body = json_safe(loaded[0])
        body |= {"key_named": body.pop("key", []), "key": row["external_key"], "version": row["state_version"]}
        body["identities"] = await self.account_identities(account_id)
        return body

    async def account_identities(self, account_id: str) -> list[Row]:
        """Return how the organisation is known: domains, provider ids, shared addresses and phones."""
        return _rows(
            await self._connection.fetch(
                "select kind, substr(identity_key, length(kind) + 2) as value, since, until from identity where"
                " account_id = $1 order by kind, identity_key, since nulls first",
                account_id,
            )
        )

    async def contacts(self, account_id: str) -> list[Row]:
        """Return the contacts of an account with how they are known and their roles."""
        people = _rows(
            await self._connection.fetch(
                "select contact.id, contact.external_key as key, contact.name, there.since, there.until,"
                " there.is_primary from contact_account as there join contact on contact.id = there.contact_id"
                " where there.account_id = $1 order by contact.name, contact.id, there.since",
                account_id,
            )
        )
        identities = await self._identities_of([one["id"] for one in people])
        roles = await self._roles_of([one["id"] for one in people])
        return [
            {**one, "identities": identities.get(one["id"], []), "roles": roles.get(one["id"], [])} for one in people
        ]

    async def contact(self, contact_id: str) -> Row | None:
        """Return one contact: where it is, how it is known, its roles."""
        row = await self._connection.fetchrow(
            "select id, external_key as key, name, created_at from contact where id = $1", contact_id
        )
        if row is None:
            return None
        there = await self._connection.fetch(
            "select account_id, since, until, is_primary from contact_account where contact_id = $1 order by since",
            contact_id,
        )
        identities = await self._identities_of([contact_id])
        roles = await self._roles_of([contact_id])
        return {
            **dict(row),
            "accounts": _rows(there),
            "identities": identities.get(contact_id, []),
            "roles": roles.get(contact_id, []),
        }

    async def _identities_of(self, contacts: Sequence[str]) -> dict[str, list[Row]]:
        grouped: dict[str, list[Row]] = {}
        for row in await self._connection.fetch(
            "select contact_id, kind, substr(identity_key, length(kind) + 2) as value, since, until from identity"
            " where contact_id = any($1::text[]::uuid[]) order by contact_id, kind, identity_key, since nulls first",
            contacts,
        ):
            one = dict(row)
            grouped.setdefault(one.pop("contact_id"), []).append(one)
        return grouped

    async def _roles_of(self, contacts: Sequence[str]) -> dict[str, list[Row]]:
        grouped: dict[str, list[Row]] = {}
        for row in await self._connection.fetch(
            "select role.contact_id, centre.account_id, centre.id as buying_centre_id, centre.name as"
            " buying_centre, role.group_role as role, role.since, role.until from contact_role as role join"
            " buying_centre as centre on centre.id = role.buying_centre_id where role.contact_id ="
            " any($1::text[]::uuid[]) order by role.contact_id, centre.name, role.since",
            contacts,
        ):
            one = dict(row)
            grouped.setdefault(one.pop("contact_id"), []).append(one)
        return grouped

    async def groups(self, account_id: str) -> list[Row]:
        """Return the buying centres of an account with their members."""
        centres = _rows(
            await self._connection.fetch(
                "select id, name from buying_centre where account_id = $1 order by name", account_id
            )
        )
        members: dict[str, list[Row]] = {}
        for row in await self._connection.fetch(
            "select member.buying_centre_id, member.contact_id, contact.name, member.influence, member.attitude,"
            " member.reports_to from group_member as member join buying_centre as centre on centre.id ="
            " member.buying_centre_id join contact on contact.id = member.contact_id where centre.account_id = $1"
            " order by contact.name, contact.id",
            account_id,
        ):
            one = dict(row)
            members.setdefault(one.pop("buying_centre_id"), []).append(one)
        roles = await self._roles_of([one["contact_id"] for those in members.values() for one in those])
        for centre in centres:
            centre["members"] = [
                {
                    **one,
                    "roles": [
                        role for role in roles.get(one["contact_id"], []) if role["buying_centre_id"] == centre["id"]
                    ],
                }
                for one in members.get(centre["id"], [])
            ]
        return centres

    async def users(self) -> list[Row]:
        """Return users with their deputies."""
        users = _rows(
            await self._connection.fetch(
                "select id, email, name, user_role as role, team_id, time_zone, holidays, mailboxes, active from"
                " app_user order by name, id"
            )
        )
        deputies: dict[str, list[Row]] = {}
        for row in await self._connection.fetch(
            "select for_user_id, user_id, since, until from deputy order by for_user_id, since"
        ):
            one = dict(row)
            deputies.setdefault(one.pop("for_user_id"), []).append(one)
        return [{**user, "deputies": deputies.get(user["id"], [])} for user in users]

    async def teams(self) -> list[Row]:
        """Return teams and their leads."""
        return _rows(await self._connection.fetch("select id, name, lead_id from team order by name"))

    async def rules(self) -> list[Row]:
        """Return the touch class rules in the order in which they are asked."""
        return _rows(
            await self._connection.fetch(
                "select id, name, touch_class, position, field, patterns, active from touch_class_rule order by"
                " position, id"
            )
        )

    async def edits(self, account_id: str, limit: int) -> list[Row]:
        """Return who changed what of an account, latest first."""
        return _rows(
            await self._connection.fetch(
                "select edit.edited_at, edit.what, edit.entity_id, edit.detail, coalesce(app_user.name,"
                " edit.subject) as by from edit left join app_user on app_user.id = edit.user_id where"
                " edit.account_id = $1 order by edit.id desc limit $2",
                account_id,
                limit,
            )
        )

    async def interactions(
        self, account_id: str, kind: str | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Row]:
        """Return an account's interactions, latest first, each with why it is here and how it is read."""
        moment, id_ = before if before is not None else (None, None)
        return _rows(
            await self._connection.fetch(
                "select said.interaction_id as id, interaction.kind, said.occurred_at, said.present, said.reason,"
                " said.touch_class, said.conversation_id, said.contacts, said.version, interaction.state,"
                " interaction.hand_class, interaction.hand_accounts from attribution as said join interaction on"
                " interaction.id = said.interaction_id where said.account_id = $1 and ($2::text is null or"
                " interaction.kind = $2) and ($3::timestamptz is null or (said.occurred_at, said.interaction_id) <"
                " ($3, $4::text::uuid)) order by said.occurred_at desc, said.interaction_id desc limit $5",
                account_id,
                kind,
                moment,
                id_,
                limit,
            )
        )

    async def interaction(self, interaction_id: str) -> Row | None:
        """Return one interaction with its state."""
        row = await self._connection.fetchrow(
            "select id, kind, occurred_at, present, unmatched, conversation_id, hand_accounts, hand_class,"
            " hand_reply_expected, state from interaction where id = $1 and state is not null",
            interaction_id,
        )
        return None if row is None else dict(row)

    async def attributions(self, interaction_id: str) -> list[Row]:
        """Return what was said about an interaction, to the accounts that the caller may see."""
        return _rows(
            await self._connection.fetch(
                "select account_id, version, present, reason, touch_class, conversation_id, contacts from"
                " attribution where interaction_id = $1 order by account_id",
                interaction_id,
            )
        )

    async def reports(self, interaction_id: str) -> list[Row]:
        """Return everything reported about an interaction, with the bodies."""
        return _rows(
            await self._connection.fetch(
                "select event_id, event_type, occurred_at, authority, revision_order, mapper, digest, source,"
                " imported, recordedtime, body from ledger where interaction_id = $1 order by authority,"
                " revision_order, mapper, digest",
                interaction_id,
            )
        )

    async def texts(self, ids: Sequence[str]) -> list[Row]:
        """Return event types and bodies of interactions, for their titles and texts."""
        return _rows(
            await self._connection.fetch(
                "select interaction_id, event_type, body from ledger where interaction_id = any($1::text[]::uuid[])",
                ids,
            )
        )

    async def unmatched_parties(self, limit: int) -> list[Row]:
        """Return identities that nobody knows, those seen most first."""
        return _rows(
            await self._connection.fetch(
                "select party.identity_key, count(*) as interactions, min(interaction.occurred_at) as first_at,"
                " max(interaction.occurred_at) as last_at from interaction join interaction_party as party on"
                " party.interaction_id = interaction.id where interaction.unmatched and party.identity_key not like"
                " 'ours:%' group by party.identity_key order by count(*) desc, party.identity_key limit $1",
                limit,
            )
        )

    async def unmatched_interactions(
        self, key: str | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Row]:
        """Return interactions that match no account, latest first; `key` narrows to one identity."""
        moment, id_ = before if before is not None else (None, None)
        return _rows(
            await self._connection.fetch(
                "select id, kind, occurred_at, present, state from interaction where unmatched and ($1::text is"
                " null or id in (select interaction_id from interaction_party where identity_key = $1)) and"
                " ($2::timestamptz is null or (occurred_at, id) < ($2, $3::text::uuid)) order by occurred_at desc,"
                " id desc limit $4",
                key,
                moment,
                id_,
                limit,
            )
        )

    async def grouped_contacts(self, account_id: str) -> set[str]:
        """Return the contacts that are in some buying centre of an account."""
        rows = await self._connection.fetch(
            "select distinct member.contact_id from group_member as member join buying_centre as centre on"
            " centre.id = member.buying_centre_id where centre.account_id = $1",
            account_id,
        )
        return {row["contact_id"] for row in rows}

    async def known_keys(self, keys: Sequence[str]) -> dict[str, str]:
        """Return by identity the contact that it names now, for those that the caller may see."""
        rows = await self._connection.fetch(
            "select identity_key, contact_id from identity where identity_key = any($1::text[]) and contact_id"
            " is not null and until is null",
            keys,
        )
        return {row["identity_key"]: row["contact_id"] for row in rows}
