"""What would become of reports, were they to come: are they repetitions, and does anybody know whose they are?

Pure, and a forecast: the reading itself may differ by what a person decides or what else comes meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from contracts.events import Event
from contracts.values import Party, RevisionOrder
from services.accounts.domain.identities import Keyed, party_keys, with_keys
from services.accounts.domain.matching import ROOTS, Directory, match, whose

Outcome = Literal["new", "changed", "repeated"]


@dataclass(frozen=True, slots=True)
class Stranger:
    """A party that matches no account: the first way in which it is known, and its company's domain if it has one."""

    kind: str
    value: str
    domain: str | None


@dataclass(frozen=True, slots=True)
class Foretold:
    """What would become of one report. `changed`: the ledger has it, and this revision of it stands above."""

    event: Event
    outcome: Outcome
    matched: bool
    """Whether its interaction would concern an account."""
    strangers: Sequence[Stranger]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the tables say about reports."""

    ledger: Mapping[str, RevisionOrder]
    """By event id."""
    claimed: Mapping[str, Sequence[str]]
    """By interaction, the accounts whose it is."""
    directory: Directory


def keys_of(events: Iterable[Event]) -> set[str]:
    """Return the identity keys of everybody of theirs."""
    theirs = (party for event in events for party in event.parties if not party.ours)
    return {key for party in theirs for _, key in party_keys(party)}


def interactions_of(events: Iterable[Event]) -> set[str]:
    """Return the interactions that reports are about or depend on."""
    return {key.id for event in events for key in (event.interaction, event.parent) if key is not None}


def rehearse(events: Sequence[Event], kept: Kept, zone: tzinfo) -> list[Foretold]:
    """Foretell reports in their order; each is compared with what is kept, and with those before it."""
    ledger = dict(kept.ledger)
    claimed = {id_: bool(accounts) for id_, accounts in kept.claimed.items()}
    told: dict[int, Foretold] = {}
    # What others depend on comes first, as in the reading itself.
    for place in sorted(range(len(events)), key=lambda one: events[one].interaction.kind not in ROOTS):
        event = events[place]
        revision, known = event.revision.sort_key, ledger.get(event.id)
        outcome: Outcome = "new" if known is None else "changed" if known < revision else "repeated"
        if outcome != "repeated":
            ledger[event.id] = revision
        found, strangers = _whose(event, kept.directory, zone)
        parent = event.parent is not None and claimed.get(event.parent.id, False)
        id_ = event.interaction.id
        claimed[id_] = claimed.get(id_, False) or found or parent
        told[place] = Foretold(event, outcome, claimed[id_], () if parent else strangers)
    return [told[place] for place in range(len(events))]


def _whose(event: Event, directory: Directory, zone: tzinfo) -> tuple[bool, Sequence[Stranger]]:
    kind, day = event.interaction.kind, event.occurred_at.astimezone(zone).date()
    keyed: Sequence[Keyed] = with_keys(event.parties)
    matched = match(keyed, kind, day, directory)
    strangers = tuple([_stranger(one.party) for one in matched if one.account_id is None])
    return bool(whose(kind, matched, day, directory)), strangers


def _stranger(party: Party) -> Stranger:
    keys = [key.partition(":") for _, key in party_keys(party)]
    domain = next((value for kind, _, value in keys if kind == "domain"), None)
    named = next((one for one in party.identities if one.kind != "domain"), party.identities[0])
    return Stranger(named.kind, named.value, domain)
