"""Puts interactions into their conversations, inside the transaction that holds their rows."""

from collections.abc import Mapping

from contracts.ids import new_id, new_ids
from services.accounts.domain.conversations import Member
from services.accounts.domain.decide import Regrouping, regroup
from services.accounts.domain.growing import Grown, grow, growing
from services.accounts.domain.ports import StoredInteraction, Tables
from services.accounts.domain.reading import Reading


async def converse(
    tables: Tables, stored: Mapping[str, StoredInteraction], readings: Mapping[str, Reading]
) -> Regrouping:
    """Lock the conversations of what refers to something, or did, and say what becomes of them.

    Of conversations that only grow a few members are read; all members only of those that meet or fall apart.
    """
    before = {
        id_: (row.conversation_id, row.member)
        for id_ in readings
        if (row := stored.get(id_)) is not None and row.conversation_id is not None
    }
    touched = {id_: reading.member for id_, reading in readings.items() if reading.references or id_ in before}
    if not touched:
        return Regrouping({}, {}, {}, {})
    begun = [id_ for id_ in touched if id_ not in before]
    proposed = dict(zip(begun, new_ids(len(begun)), strict=True))
    of_reference = await _claim(tables, touched, before, proposed)
    # What was made just now has no members and is known to nobody: only conversations of others need their lock.
    concerned = {*of_reference.values(), *[before[id_][0] for id_ in touched if id_ in before]} - {*proposed.values()}
    if not concerned:
        return regroup(touched, [], of_reference, proposed, new_id)
    await tables.lock_conversations(sorted(concerned))
    candidates = growing(touched, before, of_reference, concerned)
    grown = Grown({}, {}, ())
    if candidates:
        known = [id_ for ids in candidates.values() for id_ in ids if id_ in before]
        grown = grow(candidates, touched, before, await tables.load_outlines(sorted(candidates), known))
    rest = {id_: member for id_, member in touched.items() if id_ not in grown.conversation_of}
    if not rest:
        return _united(grown, Regrouping({}, {}, {}, {}))
    left = sorted(concerned - grown.summaries.keys())
    members = await tables.load_members(left) if left else []
    return _united(grown, regroup(rest, members, of_reference, proposed, new_id))


async def _claim(
    tables: Tables, touched: Mapping[str, Member], before: Mapping[str, tuple[str, Member]], proposed: Mapping[str, str]
) -> dict[str, str]:
    """Return the conversation of each reference; what a conversation's member has kept leads there, and stays so."""
    kept: dict[str, str] = {}
    asked: dict[str, str] = {}
    for id_, member in touched.items():
        was = before.get(id_)
        if was is not None and was[1].references == member.references:
            kept |= dict.fromkeys(member.references, was[0])
        else:
            asked |= dict.fromkeys(member.references, proposed[id_] if was is None else was[0])
    claimed = await tables.claim_references(asked) if asked else {}
    return kept | claimed


def _united(grown: Grown, regrouped: Regrouping) -> Regrouping:
    return Regrouping(
        {**grown.conversation_of, **regrouped.conversation_of},
        {**{id_: grown.summaries[label] for id_, label in grown.conversation_of.items()}, **regrouped.summaries},
        regrouped.moved_references,
        regrouped.moved_members,
        sorted({*grown.to_read_again, *regrouped.to_read_again}),
    )
