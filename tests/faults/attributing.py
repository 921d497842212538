"""Whose each interaction is, and how it is read, by the rules of the architecture page in their plainest form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from contracts.values import Party
from tests.faults.directory import Directory, Named, day_of
from tests.faults.drafts import FREE_MAIL
from tests.faults.folding import Thing
from tests.faults.history import ExpectedAttribution

_TO_MANY = frozenset({"mail", "call", "meeting", "chat", "note", "programme", "contact"})
_ROOTS = frozenset({"order", "ticket", "contract"})
TOUCHES = frozenset({"mail", "call", "meeting", "chat", "comment"})
_BY_PEOPLE = ("address", "phone", "person", "organisation", "domain")
_BY_COMPANY = ("organisation", "address", "phone", "person", "domain")
_ROLES = ("customer", "requester", "subject", "from", "caller", "to", "callee", "organiser")
_WORDS = (("not working", "support"), ("invoice", "billing"), ("roadmap", "strategic"))
_MARKS = (("support", "support"), ("helpdesk", "support"), ("strategy", "strategic"), ("qbr", "strategic"))


@dataclass(frozen=True, slots=True)
class _Known:
    """One party of theirs: where it belongs, who it is, how well that is known (0: best)."""

    role: str
    account: str | None
    contact: str | None
    strength: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One account that an interaction concerns."""

    account: str
    contacts: frozenset[tuple[str, str]]
    roles: frozenset[str]


def claims_of(things: Mapping[str, Thing], directory: Directory) -> dict[str, list[Claim]]:
    """By interaction the accounts that it concerns; none: nobody knows, or a person said so."""
    claims: dict[str, list[Claim]] = {}
    # What others follow comes first; it follows nothing itself.
    for thing in sorted(things.values(), key=lambda each: each.kind not in _ROOTS):
        claims[thing.id] = _claims(thing, claims, directory)
    return claims


def _claims(thing: Thing, others: Mapping[str, list[Claim]], directory: Directory) -> list[Claim]:
    day = day_of(thing.occurred_at)
    known = [_known(party, thing.kind, day, directory) for party in thing.parties if not party.ours]
    by_hand = directory.hand_accounts.get(thing.id)
    if by_hand is not None:
        return [_claim(account, known) for account in sorted({directory.account(each) for each in by_hand})]
    if thing.parent_kind in _ROOTS and thing.kind not in _ROOTS:
        followed = sorted({claim.account for claim in others.get(thing.parent_id or "", ())})
        if followed:
            return [_claim(account, known) for account in followed]
    found = [each for each in known if each.account is not None]
    if thing.kind in _TO_MANY:
        return [_claim(account, known) for account in sorted({each.account or "" for each in found})]
    if not found:
        return []
    best = min(found, key=lambda each: (each.strength, _role_rank(each.role), each.account or ""))
    return [_claim(best.account or "", known)]


def _role_rank(role: str) -> int:
    return _ROLES.index(role) if role in _ROLES else len(_ROLES)


def _known(party: Party, kind: str, day: date, directory: Directory) -> _Known:
    order = _BY_PEOPLE if kind in _TO_MANY else _BY_COMPANY
    found: list[tuple[int, str | None, str | None]] = []
    for name, value in _identities(party):
        named: Named | None = directory.named(f"{name}:{value}", day)
        if named is not None:
            found.append((order.index(name), directory.account_of(named, day), named.contact))
    accounts = sorted((strength, account) for strength, account, _ in found if account is not None)
    contacts = sorted((strength, contact) for strength, _, contact in found if contact is not None)
    return _Known(
        role=party.role,
        account=accounts[0][1] if accounts else None,
        contact=contacts[0][1] if contacts else None,
        strength=accounts[0][0] if accounts else len(order),
    )


def _identities(party: Party) -> Iterable[tuple[str, str]]:
    stated = {(identity.kind, identity.value) for identity in party.identities}
    domains = {("domain", value.rpartition("@")[2]) for kind, value in stated if kind == "address"}
    return sorted((kind, value) for kind, value in stated | domains if kind != "domain" or value not in FREE_MAIL)


def _claim(account: str, known: Sequence[_Known]) -> Claim:
    own = [each for each in known if each.account == account]
    contacts = frozenset((each.contact, each.role) for each in own if each.contact is not None)
    # Where nobody of the account is known, whoever took part stands for it.
    roles = frozenset(each.role for each in own or known)
    return Claim(account, contacts, roles)


# ---------------------------------------------------------------------------------------------- conversations


def conversations(things: Mapping[str, Thing]) -> dict[str, frozenset[str]]:
    """By interaction everything that is tied to it by a chain of references, itself included."""
    holders: dict[str, set[str]] = defaultdict(set)
    for thing in things.values():
        for reference in thing.references:
            holders[reference].add(thing.id)
    found: dict[str, frozenset[str]] = {}
    for id_ in things:
        if id_ in found:
            continue
        group, edge = {id_}, [id_]
        while edge:
            for reference in things[edge.pop()].references:
                new = holders[reference] - group
                group |= new
                edge += new
        for member in group:
            found[member] = frozenset(group)
    return found


def head_of(group: Iterable[str], things: Mapping[str, Thing]) -> str:
    """The first interaction of a conversation: its name for the world."""
    return min(group, key=lambda id_: (things[id_].occurred_at, id_))


# ---------------------------------------------------------------------------------------------- how it is read


def own_class(thing: Thing, directory: Directory) -> str | None:
    """By hand, else by the first rule that fits."""
    by_hand = directory.hand_classes.get(thing.id)
    if by_hand is not None or thing.kind not in TOUCHES:
        return by_hand
    marks = thing.labels if thing.kind == "mail" else thing.tags
    by_mark = [read for mark, read in _MARKS if mark in marks]
    words = f"{thing.title}\n{thing.text}".lower()
    by_word = [read for word, read in _WORDS if word in words]
    return next(iter([*by_mark, *by_word]), None)


def automatic(thing: Thing) -> bool:
    """Whether nobody wrote it by hand."""
    return thing.kind in {"mail", "comment"} and thing.fields.get("automatic") is not None


def attribute(
    things: Mapping[str, Thing],
    claims: Mapping[str, list[Claim]],
    groups: Mapping[str, frozenset[str]],
    directory: Directory,
) -> dict[tuple[str, str], ExpectedAttribution]:
    """Every interaction as every account sees it."""
    tickets, requests = _of_conversations(things, claims, groups, directory)
    return {
        (thing.id, claim.account): _attribution(thing, claim, groups[thing.id], things, tickets, requests, directory)
        for thing in things.values()
        for claim in claims[thing.id]
    }


_Firsts = dict[tuple[frozenset[str], str], tuple[datetime, str]]
"""By conversation and account (when, which)."""


def _of_conversations(
    things: Mapping[str, Thing],
    claims: Mapping[str, list[Claim]],
    groups: Mapping[str, frozenset[str]],
    directory: Directory,
) -> tuple[_Firsts, _Firsts]:
    """The first ticket, and the first call for help, of each account in each conversation."""
    tickets: _Firsts = {}
    requests: _Firsts = {}
    for thing in sorted(things.values(), key=lambda each: (each.occurred_at, each.id)):
        asks = own_class(thing, directory) == "support" and thing.present and thing.direction == "in"
        for claim in claims[thing.id]:
            place = groups[thing.id], claim.account
            if thing.kind == "ticket" and thing.present:
                tickets.setdefault(place, (thing.occurred_at, thing.id))
            if asks:
                requests.setdefault(place, (thing.occurred_at, thing.id))
    return tickets, requests


def _attribution(  # noqa: PLR0917 - what a reading depends on
    thing: Thing,
    claim: Claim,
    group: frozenset[str],
    things: Mapping[str, Thing],
    tickets: _Firsts,
    requests: _Firsts,
    directory: Directory,
) -> ExpectedAttribution:
    place = group, claim.account
    touch = thing.kind in TOUCHES
    ticket = tickets.get(place) if touch else None
    request = requests.get(place)
    read: str | None = None
    if touch:
        read = own_class(thing, directory) or "routine"
        if thing.id not in directory.hand_classes and (
            ticket is not None or (request is not None and request[0] <= thing.occurred_at)
        ):
            read = "support"
    return ExpectedAttribution(
        account=claim.account,
        interaction_id=thing.id,
        present=thing.present,
        kind=thing.kind,
        occurred_at=thing.occurred_at,
        touch_class=read,
        contacts=claim.contacts,
        ticket_id=None if ticket is None else ticket[1],
        conversation_id=head_of(group, things),
        cc_only=thing.kind == "mail" and bool(claim.roles) and claim.roles <= {"cc", "bcc"},
    )
