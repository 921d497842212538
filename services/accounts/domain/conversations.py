"""Conversations: interactions that refer to one another, found by references only, never by subject or people."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from contracts.interactions import Interaction
from contracts.values import Kind

_NONE: Mapping[str, Any] = MappingProxyType({})
_OWN_REFERENCE = {Kind.TICKET: "ticket", Kind.CALL: "call"}


def references_of(interaction: Interaction) -> list[str]:
    """Return what an interaction refers to, sorted, as "kind:value"; a ticket and a call refer to themselves."""
    references = [f"{reference.kind}:{reference.value}" for reference in interaction.references]
    key = interaction.key
    own = _OWN_REFERENCE.get(key.kind)
    if own is not None:
        references.append(f"{own}:{key.system}:{key.native_id}")
    parent = interaction.parent
    if parent is not None and parent.kind is Kind.TICKET:
        references.append(f"ticket:{parent.system}:{parent.native_id}")
    return references if len(references) < 2 else sorted(set(references))  # noqa: PLR2004 - nothing to put in order


class Member(Struct, frozen=True, gc=False):
    """What one interaction means to its conversation."""

    id: str
    occurred_at: datetime
    references: tuple[str, ...] = ()
    ticket: bool = False
    """Whether it is a ticket that stands."""
    support_request: bool = False
    """Whether it asks for help by itself and stands."""
    accounts: tuple[str, ...] = ()


class Summary(Struct, frozen=True, gc=False):
    """What a conversation means to its members. Two that are equal read every member alike."""

    head: str
    """Its first interaction, by time then id: the conversation's id for the world."""
    tickets: Mapping[str, str] = _NONE
    """By account the first ticket of that account."""
    requests: Mapping[str, datetime] = _NONE
    """By account the moment of the first call for help."""


def summarise(members: Iterable[Member]) -> Summary:
    """Fold the members of one conversation, in whatever order."""
    ordered = list(members)
    if len(ordered) > 1:
        ordered.sort(key=lambda member: (member.occurred_at, member.id))
    tickets: dict[str, str] = {}
    requests: dict[str, datetime] = {}
    for member in ordered:
        for account in member.accounts:
            if member.ticket:
                tickets.setdefault(account, member.id)
            if member.support_request:
                requests.setdefault(account, member.occurred_at)
    return Summary(ordered[0].id, tickets, requests)


def components(members: Sequence[Member]) -> list[list[Member]]:
    """Split members into conversations: two belong together when a chain of shared references connects them."""
    leader: dict[str, str] = {}

    def find(node: str) -> str:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for member in members:
        leader.setdefault(member.id, member.id)
        for reference in member.references:
            leader.setdefault(reference, reference)
            one, other = find(member.id), find(reference)
            if one != other:
                leader[max(one, other)] = min(one, other)
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(find(member.id), []).append(member)
    return list(groups.values())
