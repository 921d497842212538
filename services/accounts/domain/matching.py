"""Whose is it? From the parties of an interaction to the accounts that it concerns, each with the reason.

Communication concerns every party's account; tickets, money and the rest exactly one. Reasons are tried from the
strongest to the weakest; a contact who serves several accounts speaks for the primary one on that day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from msgspec import Struct

from contracts.activity import Reason
from contracts.values import Kind, Party
from services.accounts.domain.identities import IdentityKind, Keyed

COMMUNICATION = frozenset({Kind.MAIL, Kind.CALL, Kind.MEETING, Kind.CHAT, Kind.NOTE, Kind.PROGRAMME, Kind.CONTACT})
ROOTS = frozenset({Kind.ORDER, Kind.TICKET, Kind.CONTRACT})
"""What others can depend on. A root never follows a parent, so that parents form no circles."""

_COMMUNICATION_ORDER = {"address": 0, "phone": 1, "person": 2, "organisation": 3, "domain": 4}
_BUSINESS_ORDER = {"organisation": 0, "address": 1, "phone": 2, "person": 3, "domain": 4}
_ROLE_ORDER = {
    role: rank
    for rank, role in enumerate(("customer", "requester", "subject", "from", "caller", "to", "callee", "organiser"))
}
_LAST_ROLE = len(_ROLE_ORDER)


class Link(Struct, frozen=True, gc=False):
    """An identity names an account or a contact from `since` (None: always) until before `until` (None: still)."""

    account_id: str | None
    contact_id: str | None
    since: date | None = None
    until: date | None = None

    def holds_on(self, day: date) -> bool:
        """Say whether the link holds on `day`."""
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True)
class Serving:
    """A contact is at an account from `since` until before `until`."""

    account_id: str
    since: date
    until: date | None = None
    primary: bool = True

    def holds_on(self, day: date) -> bool:
        """Say whether the contact is there on `day`."""
        return self.since <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True)
class Directory:
    """Who is known: links by identity key, where contacts are by contact id, users of ours by identity key."""

    links: Mapping[str, Sequence[Link]] = field(default_factory=dict)
    servings: Mapping[str, Sequence[Serving]] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)

    def link(self, key: str, day: date) -> Link | None:
        """Return what `key` names on `day`; there is at most one."""
        for link in self.links.get(key, ()):
            if (link.since is None or link.since <= day) and (link.until is None or day < link.until):
                return link
        return None

    def account_of(self, contact_id: str, day: date) -> str | None:
        """Return the account that a contact speaks for on `day`: the primary one, else the one joined last."""
        there = [serving for serving in self.servings.get(contact_id, ()) if serving.holds_on(day)]
        if not there:
            return None
        return max(there, key=lambda serving: (serving.primary, serving.since, serving.account_id)).account_id

    def serves(self, contact_id: str, account_id: str, day: date) -> bool:
        """Say whether a contact is at an account on `day`."""
        return any(
            serving.account_id == account_id and serving.holds_on(day) for serving in self.servings.get(contact_id, ())
        )


class Matched(Struct, frozen=True, gc=False):
    """What is known of one party of theirs."""

    party: Party
    account_id: str | None
    contact_id: str | None
    reason: Reason | None
    strength: int


class Claim(Struct, frozen=True, gc=False):
    """An account that an interaction concerns, and who of it took part in which roles."""

    account_id: str
    reason: Reason
    contacts: tuple[tuple[str, str], ...]
    """(contact id, role), sorted."""
    roles: frozenset[str]


def match(parties: Iterable[Keyed], kind: Kind, day: date, directory: Directory) -> list[Matched]:
    """Return what is known of each party of theirs, by the strongest identity that names an account on `day`."""
    order = _COMMUNICATION_ORDER if kind in COMMUNICATION else _BUSINESS_ORDER
    return [_match_party(party, keys, order, day, directory) for party, keys in parties if not party.ours]


def _match_party(
    party: Party, keys: Iterable[tuple[IdentityKind, str]], order: Mapping[str, int], day: date, directory: Directory
) -> Matched:
    account: str | None = None
    contact: str | None = None
    reason: Reason | None = None
    contact_strength = strength = len(order)
    for kind, key in keys:
        if (link := directory.link(key, day)) is None:
            continue
        rank = order[kind]
        if link.contact_id is not None and rank < contact_strength:
            contact, contact_strength = link.contact_id, rank
        named = link.account_id or (directory.account_of(link.contact_id, day) if link.contact_id else None)
        if named is not None and (rank < strength or (rank == strength and account is not None and named < account)):
            account, reason, strength = named, kind, rank
    return Matched(party, account, contact, reason, strength)


def whose(
    kind: Kind,
    matched: Sequence[Matched],
    day: date,
    directory: Directory,
    *,
    by_hand: Sequence[str] | None = None,
    parents: Sequence[str] | None = None,
) -> list[Claim]:
    """Return the accounts that an interaction concerns, sorted by id; none: it is unmatched.

    `by_hand` are the accounts that a person named (empty: nobody's). `parents` are those of what it depends on.
    """
    if len(matched) == 1 and by_hand is None and not parents:
        # One party, and nobody said otherwise: it speaks for its account, and nobody else does.
        return _alone(matched[0])
    if by_hand is not None:
        return [_claim(account, "by_hand", matched, day, directory) for account in sorted(set(by_hand))]
    if parents and kind not in ROOTS:
        return [_claim(account, "parent", matched, day, directory) for account in sorted(set(parents))]
    found = [party for party in matched if party.account_id is not None]
    if kind in COMMUNICATION:
        strongest: dict[str, Matched] = {}
        for party in sorted(found, key=_by_strength):
            strongest.setdefault(party.account_id or "", party)
        return [_claim(account, party.reason, matched, day, directory) for account, party in sorted(strongest.items())]
    if not found:
        return []
    best = found[0] if len(found) == 1 else min(found, key=_by_strength)
    return [_claim(best.account_id, best.reason, matched, day, directory)]


def _alone(party: Matched) -> list[Claim]:
    account, reason, role = party.account_id, party.reason, party.party.role
    if account is None or reason is None:
        return []
    contacts = () if party.contact_id is None else ((party.contact_id, role),)
    return [Claim(account, reason, contacts, frozenset((role,)))]


def _by_strength(party: Matched) -> tuple[int, int, str]:
    return party.strength, _ROLE_ORDER.get(party.party.role, _LAST_ROLE), party.account_id or ""


def _claim(
    account: str | None, reason: Reason | None, matched: Sequence[Matched], day: date, directory: Directory
) -> Claim:
    assert account is not None and reason is not None  # noqa: S101, PT018 - both are known of whoever was found
    contacts: set[tuple[str, str]] = set()
    roles: set[str] = set()
    for party in matched:
        theirs = party.account_id == account
        if not theirs and party.contact_id is not None:
            theirs = directory.serves(party.contact_id, account, day)
        if theirs:
            roles.add(party.party.role)
            if party.contact_id is not None:
                contacts.add((party.contact_id, party.party.role))
    if not roles:
        # Named by hand or by the parent, and nobody is known: whoever took part stands for the account.
        roles = {party.party.role for party in matched}
    return Claim(account, reason, tuple(sorted(contacts)) if contacts else (), frozenset(roles))
