"""From an interaction to its attributions: first what it is by itself, then what its conversation adds.

`read` needs the interaction, the directory and its parent's accounts; `attribute` adds the conversation's summary.
Both are pure, so an interaction that is read again after any change gives what it would have given at first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from contracts.interactions import Interaction
from contracts.standins import encode_sorted
from contracts.values import Kind, TouchClass
from services.accounts.domain.conversations import Member, Summary, references_of
from services.accounts.domain.identities import Keyed, identity_key, interaction_keys
from services.accounts.domain.matching import ROOTS, Claim, Directory, Matched, match, whose
from services.accounts.domain.touch import TOUCHES, TouchRule, automatic_of, class_by_rule, direction_of, reply_expected

_COPIES = frozenset({"cc", "bcc"})
_WITH_TICKET = frozenset({Kind.MAIL, Kind.CALL, Kind.CHAT, Kind.COMMENT, Kind.MEETING})
_SENDERS = frozenset({"from", "caller"})


@dataclass(frozen=True, slots=True)
class Hand:
    """What people decided about one interaction; None: nobody did."""

    accounts: tuple[str, ...] | None = None
    """Empty: nobody's."""
    touch_class: TouchClass | None = None
    reply_expected: bool | None = None

    def through(self, survivors: Mapping[str, str]) -> "Hand":
        """Return the same with the accounts that speak for those named, where `survivors` knows another."""
        if self.accounts is None or not any(account in survivors for account in self.accounts):
            return self
        return replace(self, accounts=tuple([survivors.get(account, account) for account in self.accounts]))


NOBODY_DECIDED = Hand()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the company decided for all interactions."""

    touch: Sequence[TouchRule] = ()
    """In order of position."""
    sender_roles: Mapping[str, Sequence[tuple[str, date, date | None]]] = field(default_factory=dict)
    """By contact: (role, since, until before)."""


class Reading(Struct, frozen=True, gc=False):
    """What an interaction is by itself."""

    interaction: Interaction
    claims: tuple[Claim, ...]
    own_class: TouchClass | None
    """By hand or by rule."""
    class_is_by_hand: bool
    reply_expected: bool
    users: tuple[str, ...]
    keys: tuple[str, ...]
    """Of every party of theirs: "kind:value"."""
    references: tuple[str, ...]
    parent_id: str | None
    accounts: tuple[str, ...]
    """Those that it concerns, sorted."""
    support_request: bool
    """Whether it asks for help by itself and stands: answers to it are support."""
    unmatched: bool
    """Whether nobody knows whose it is; False also where a person said that it is no account's."""

    @property
    def member(self) -> Member:
        """What it means to its conversation."""
        interaction = self.interaction
        return Member(
            id=interaction.id,
            occurred_at=interaction.occurred_at,
            references=self.references,
            ticket=interaction.present and interaction.kind is Kind.TICKET,
            support_request=self.support_request,
            accounts=self.accounts,
        )


def parent_of(interaction: Interaction) -> str | None:
    """Return the id of what the interaction follows; None for roots, and for parents that are no root."""
    parent = interaction.parent
    if parent is None or parent.kind not in ROOTS or interaction.kind in ROOTS:
        return None
    return parent.id


def read(  # noqa: PLR0917 - what it depends on, nothing more
    interaction: Interaction,
    parties: Sequence[Keyed],
    hand: Hand,
    directory: Directory,
    rules: Rules,
    parents: Sequence[str] | None,
    zone: tzinfo,
) -> Reading:
    """Say what an interaction is by itself.

    `parties` are its own, with their keys; `parents` the accounts of its parent (None or empty: not known).
    """
    kind = interaction.key.kind
    day = interaction.occurred_at.astimezone(zone).date()
    matched = match(parties, kind, day, directory)
    claims = whose(kind, matched, day, directory, by_hand=hand.accounts, parents=parents)
    touch_class = hand.touch_class
    if touch_class is None and kind in TOUCHES:
        touch_class = class_by_rule(interaction, rules.touch, _sender_roles(matched, rules, day))
    return Reading(
        interaction=interaction,
        claims=tuple(claims),
        own_class=touch_class,
        class_is_by_hand=hand.touch_class is not None,
        reply_expected=reply_expected(interaction, by_hand=hand.reply_expected),
        users=_users(interaction, directory),
        keys=tuple(interaction_keys(parties)),
        references=tuple(references_of(interaction)),
        parent_id=None if interaction.parent is None else parent_of(interaction),
        accounts=tuple([claim.account_id for claim in claims]),
        support_request=touch_class == "support" and interaction.present and direction_of(interaction) == "in",
        unmatched=not claims and hand.accounts != (),
    )


def _users(interaction: Interaction, directory: Directory) -> tuple[str, ...]:
    ours = [party for party in interaction.parties if party.ours]
    if not ours:
        return ()
    users = [
        directory.users[key]
        for party in ours
        for identity in party.identities
        if (key := identity_key(identity.kind, identity.value)) in directory.users
    ]
    return tuple(sorted(set(users))) if users else ()


def _sender_roles(matched: Sequence[Matched], rules: Rules, day: date) -> list[str]:
    return [
        role
        for party in matched
        if party.contact_id is not None and party.party.role in _SENDERS
        for role, since, until in rules.sender_roles.get(party.contact_id, ())
        if since <= day and (until is None or day < until)
    ]


def shared_body(reading: Reading, summary: Summary) -> dict[str, Any]:
    """Return the members of an attribution that are the same for every account."""
    interaction = reading.interaction
    body: dict[str, Any] = {
        "interaction_id": interaction.id,
        "kind": interaction.key.kind,
        "occurred_at": interaction.occurred_at,
        "imported": interaction.imported,
        "sources": interaction.sources,
        "reply_expected": reading.reply_expected,
        "users": reading.users,
        "conversation_id": summary.head,
        "entries": interaction.entries,
        "detail": interaction.detail,
    }
    if interaction.key.kind in TOUCHES:
        direction, automatic = direction_of(interaction), automatic_of(interaction)
        if direction is not None:
            body["direction"] = direction
        if automatic is not None:
            body["automatic"] = automatic
    if interaction.parent is not None:
        body["parent_id"] = interaction.parent.id
    return body


def attribute(reading: Reading, shared: Mapping[str, Any], summary: Summary, claim: Claim) -> dict[str, Any]:
    """Return an attribution's members, all but its two versions."""
    interaction = reading.interaction
    account = claim.account_id
    body = {
        **shared,
        "account_id": account,
        "present": interaction.present,
        "reason": claim.reason,
        "cc_only": interaction.kind is Kind.MAIL and bool(claim.roles) and claim.roles <= _COPIES,
        "contacts": [{"contact_id": contact, "role": role} for contact, role in claim.contacts],
    }
    ticket = summary.tickets.get(account) if interaction.kind in _WITH_TICKET else None
    if ticket is not None:
        body["ticket_id"] = ticket
    if interaction.kind in TOUCHES:
        body["touch_class"] = _touch_class(reading, summary, account, ticket)
    return body


def _touch_class(reading: Reading, summary: Summary, account: str, ticket: str | None) -> TouchClass:
    """By hand, else by what it belongs to or answers, else by rule, else routine."""
    if reading.class_is_by_hand and reading.own_class is not None:
        return reading.own_class
    request = summary.requests.get(account)
    if ticket is not None or (request is not None and request <= reading.interaction.occurred_at):
        return "support"
    return reading.own_class or "routine"


def withdrawn_from(body: Mapping[str, Any], account_id: str, reason: str) -> dict[str, Any]:
    """Return the tombstone for an account whose the interaction no longer is."""
    return {**body, "account_id": account_id, "present": False, "reason": reason, "cc_only": False, "contacts": []}


def canonical(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of an attribution without versions: equal attributions have equal bytes."""
    return encode_sorted(body)


def digest_of(content: bytes) -> bytes:
    """Return 16 bytes that tell attributions apart."""
    return blake2b(content, digest_size=16).digest()


def with_versions(content: bytes, version: int, account_version: int) -> bytes:
    """Return the record's value: `content` with the two versions in their places, in the order of names."""
    # After the account's id, which comes first, and at the very end.
    place = content.index(b'",') + 2
    return b'%b"account_version":%d,%b,"version":%d}' % (content[:place], account_version, content[place:-1], version)
