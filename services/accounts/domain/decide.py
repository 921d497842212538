"""Pure steps between what the tables hold and what they shall hold."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from contracts.values import Kind
from services.accounts.domain.conversations import Member, Summary, components, summarise
from services.accounts.domain.ports import Report, StoredAttribution, StoredReport
from services.accounts.domain.reading import Reading, attribute, canonical, digest_of, shared_body, withdrawn_from


def collapse(reports: Iterable[Report]) -> dict[str, dict[str, Report]]:
    """Return by interaction and event id the greatest revision among `reports`."""
    collapsed: dict[str, dict[str, Report]] = {}
    for report in reports:
        of_interaction = collapsed.get(report.interaction_id)
        if of_interaction is None:
            collapsed[report.interaction_id] = {report.event_id: report}
            continue
        known = of_interaction.get(report.event_id)
        if known is None or known.event.revision.sort_key < report.event.revision.sort_key:
            of_interaction[report.event_id] = report
    return collapsed


def news(fresh: Mapping[str, Report], stored: Iterable[StoredReport]) -> Mapping[str, Report]:
    """Return those of one interaction's reports that say more than the ledger; the others are duplicates."""
    known = {report.event_id: report.revision for report in stored}
    if not known:
        return fresh
    return {
        event_id: report
        for event_id, report in fresh.items()
        if event_id not in known or known[event_id] < report.event.revision.sort_key
    }


@dataclass(frozen=True, slots=True)
class Regrouping:
    """What becomes of the conversations that a batch touches."""

    conversation_of: Mapping[str, str]
    """Of each touched interaction with references."""
    summaries: Mapping[str, Summary]
    """Of each touched interaction with references."""
    moved_references: Mapping[str, str]
    moved_members: Mapping[str, str]
    """Interactions that are not being read now, by their new conversation."""
    to_read_again: Sequence[str] = field(default_factory=tuple)
    """Conversations in which others than the touched ones now read differently."""


def regroup(
    touched: Mapping[str, Member],
    members: Sequence[tuple[str, Member]],
    conversation_of_reference: Mapping[str, str],
    new_id: Mapping[str, str],
    fresh: Callable[[], str],
) -> Regrouping:
    """Put the touched interactions into their conversations.

    `members` is everything stored in any conversation that is concerned, `conversation_of_reference` where the touched
    ones' references are, `new_id` what each touched one without a conversation proposed for it. `fresh` gives an id
    that nobody has, for a part that falls off.
    """
    conversation_of, summaries = _alone(touched, members, conversation_of_reference, new_id)
    if len(conversation_of) == len(touched) and not members:
        return Regrouping(conversation_of, summaries, {}, {})
    touched = {id_: member for id_, member in touched.items() if id_ not in conversation_of}
    before = {member.id: (conversation, member) for conversation, member in members}
    stored: dict[str, list[Member]] = {}
    for conversation, member in members:
        stored.setdefault(conversation, []).append(member)
    old_summaries = {conversation: summarise(those) for conversation, those in stored.items()}
    present = {member.id: member for _, member in members} | dict(touched)
    taken: set[str] = set()
    moved_references: dict[str, str] = {}
    moved_members: dict[str, str] = {}
    again: set[str] = set()
    # Largest groups first: a conversation that falls apart leaves its id to the larger part.
    for group in sorted(components(list(present.values())), key=lambda those: (-len(those), _first(those))):
        candidates = {before[member.id][0] for member in group if member.id in before}
        candidates |= {
            conversation_of_reference[name]
            for member in group
            for name in member.references
            if name in conversation_of_reference
        }
        proposed = {new_id[member.id] for member in group if member.id in new_id}
        label = min(candidates - taken or proposed - taken, default=None) or fresh()
        taken.add(label)
        summary = summarise(group)
        for member in group:
            for name in member.references:
                if (
                    conversation_of_reference.get(name, label if member.id not in before else before[member.id][0])
                    != label
                ):
                    moved_references[name] = label
            if member.id in touched:
                conversation_of[member.id] = label
                summaries[member.id] = summary
                continue
            conversation = before[member.id][0]
            if conversation != label:
                moved_members[member.id] = label
            if old_summaries[conversation] != summary:
                again.add(label)
    return Regrouping(conversation_of, summaries, moved_references, moved_members, sorted(again))


def _alone(
    touched: Mapping[str, Member],
    members: Sequence[tuple[str, Member]],
    conversation_of_reference: Mapping[str, str],
    new_id: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, Summary]]:
    """Return conversation and summary of those that begin one: nobody else has their references, or ever had."""
    stored = {member.id for _, member in members}
    named: dict[str, str] = {}
    shared: set[str] = set()
    for id_, member in touched.items():
        for name in member.references:
            if named.setdefault(name, id_) != id_:
                shared.add(name)
    conversation_of: dict[str, str] = {}
    summaries: dict[str, Summary] = {}
    for id_, member in touched.items():
        conversation = new_id.get(id_)
        for name in member.references:
            if name in shared or conversation_of_reference.get(name) != conversation:
                break
        else:
            if conversation is not None and member.references and id_ not in stored:
                conversation_of[id_] = conversation
                summaries[id_] = summarise([member])
    return conversation_of, summaries


def _first(group: Sequence[Member]) -> str:
    return group[0].id if len(group) == 1 else min(member.id for member in group)


class Saying(Struct, frozen=True, gc=False):
    """One attribution that differs from the last: what is to be said to an account, versions apart."""

    reading: Reading
    account_id: str
    content: bytes
    digest: bytes
    body: Mapping[str, Any]
    known: int | None = None
    """The version under which it was said already: it is said again as it was."""


def sayings(
    reading: Reading, summary: Summary, last: Mapping[str, StoredAttribution], *, again: bool = False
) -> list[Saying]:
    """Return what is to be said about one interaction: new states, and tombstones for accounts whose it no longer is.

    An account that never heard of an interaction is not told of its withdrawal, but for orders: their refunds count
    nowhere, whatever came first. `again`: what was said already, too.
    """
    shared = shared_body(reading, summary)
    told = reading.interaction.present or reading.interaction.key.kind is Kind.ORDER
    said = [
        (claim.account_id, attribute(reading, shared, summary, claim))
        for claim in reading.claims
        if told or claim.account_id in last
    ]
    if last:
        said += [
            (account, withdrawn_from(shared, account, known.reason))
            for account, known in last.items()
            if account not in reading.accounts and (known.present or again)
        ]
    differing = []
    for account, body in said:
        content = canonical(body)
        digest = digest_of(content)
        known = last.get(account)
        if known is None or known.digest != digest:
            # Nothing in a tombstone matters but that it is one: what has changed about the interaction is no news.
            gone = known is not None and account not in reading.accounts and not known.present
            version = known.version if known is not None and gone else None
            differing.append(Saying(reading, account, content, digest, body, known=version))
        elif again:
            differing.append(Saying(reading, account, content, digest, body, known=known.version))
    return differing
