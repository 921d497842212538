"""Conversations that only grow: what they mean follows from a few of their members, however many there are.

Nearly every batch only adds to conversations. Where nobody lost a reference and no two conversations meet, `regroup`
would find what it is given here: the same conversation, and a summary to which the first member, tickets and calls for
help matter. Whatever is not beyond doubt is left to `regroup`, which needs all members.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.accounts.domain.conversations import Member, Summary, components, summarise


@dataclass(frozen=True, slots=True)
class Grown:
    """`summaries` by conversation. In `to_read_again` others than those in hand now read differently."""

    conversation_of: Mapping[str, str]
    summaries: Mapping[str, Summary]
    to_read_again: Sequence[str]


def growing(
    touched: Mapping[str, Member],
    before: Mapping[str, tuple[str, Member]],
    conversation_of_reference: Mapping[str, str],
    known: AbstractSet[str],
) -> dict[str, list[str]]:
    """Return, by conversation, the touched interactions of those conversations that only grow, as far as can be seen.

    `before`: conversation and member as they were, of those touched that had a conversation; `known`: conversations
    that were there. Who keeps all references stays where they were; who is new must name one conversation only.
    """
    grown: dict[str, list[str]] = {}
    doubtful: set[str] = set()
    for id_, member in touched.items():
        named = {conversation_of_reference[name] for name in member.references}
        was = before.get(id_)
        if was is not None:
            named.add(was[0])
        if (
            len(named) == 1
            and named <= known
            and (was is None or was[1].references == member.references or {*was[1].references} <= {*member.references})
        ):
            grown.setdefault(next(iter(named)), []).append(id_)
        else:
            doubtful |= named
    return {conversation: ids for conversation, ids in grown.items() if conversation not in doubtful}


def grow(
    candidates: Mapping[str, Sequence[str]],
    touched: Mapping[str, Member],
    before: Mapping[str, tuple[str, Member]],
    outlines: Mapping[str, Sequence[Member]],
) -> Grown:
    """Say what becomes of `candidates`; those about which there is a doubt are left out.

    `outlines` holds of each conversation the first and the last member, and those that are tickets or ask for help,
    apart from those touched.
    """
    conversation_of: dict[str, str] = {}
    summaries: dict[str, Summary] = {}
    again = []
    for conversation, ids in candidates.items():
        others = outlines.get(conversation, ())
        were = [before[id_][1] for id_ in ids if id_ in before]
        if len(were) < len(ids):
            # A reference that nobody has any more may lead here; or it is somebody between the first and the last.
            whole = _connected([*others, *were], [touched[id_] for id_ in ids])
        else:
            whole = bool(others) or len(ids) == 1 or len(components(were)) == 1
        if not whole:
            continue
        summary = summarise([*others, *[touched[id_] for id_ in ids]])
        summaries[conversation] = summary
        for id_ in ids:
            conversation_of[id_] = conversation
        if others and summarise([*others, *were]) != summary:
            again.append(conversation)
    return Grown(conversation_of, summaries, again)


def _connected(members: Sequence[Member], joining: Sequence[Member]) -> bool:
    """Say whether chains of shared references lead from all of `joining` to `members`, who belong together."""
    held = {name for member in members for name in member.references}
    left = [member for member in joining if held.isdisjoint(member.references)]
    if not left:
        return bool(held)
    anchor = Member("", joining[0].occurred_at, tuple(held))
    return bool(held) and len(components([anchor, *joining])) == 1
