"""Conversations by references."""

from __future__ import annotations

import itertools

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.accounts.domain.conversations import Member, components, summarise
from services.accounts.domain.decide import regroup
from services.accounts.domain.growing import grow, growing
from tests.unit.accounts.events import at

_NAMES = ("message:1", "message:2", "message:3", "ticket:4", "call:5")
_members = st.lists(
    st.builds(
        Member,
        id=st.sampled_from([f"{number:08}" for number in range(8)]),
        occurred_at=st.integers(0, 5).map(lambda hours: at(hours=hours)),
        references=st.lists(st.sampled_from(_NAMES), max_size=3).map(tuple),
        ticket=st.booleans(),
        support_request=st.booleans(),
        accounts=st.lists(st.sampled_from(["acme", "nordic"]), max_size=2, unique=True).map(tuple),
    ),
    max_size=8,
    unique_by=lambda member: member.id,
)


@given(_members, st.randoms())
def test_components_and_summaries_do_not_depend_on_order(members: list[Member], random: object) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = {frozenset(member.id for member in group): summarise(group) for group in components(members)}
    other = {frozenset(member.id for member in group): summarise(group) for group in components(shuffled)}
    assert one == other


@given(_members)
def test_whoever_shares_a_reference_is_in_one_conversation(members: list[Member]) -> None:
    groups = components(members)
    assert sorted(member.id for group in groups for member in group) == sorted(member.id for member in members)
    for name in _NAMES:
        assert sum(any(name in member.references for member in group) for group in groups) <= 1


@given(_members)
def test_members_one_by_one_end_in_the_conversations_of_all_at_once(members: list[Member]) -> None:
    stored: dict[str, tuple[str, Member]] = {}
    of_reference: dict[str, str] = {}
    for member in members:
        for name in member.references:
            of_reference.setdefault(name, f"new {member.id}")
        concerned = {of_reference[name] for name in member.references} | {f"new {member.id}"}
        those = [pair for pair in stored.values() if pair[0] in concerned]
        asked = {name: of_reference[name] for name in member.references}
        result = regroup({member.id: member}, those, asked, {member.id: f"new {member.id}"}, lambda: "unwanted")
        stored[member.id] = (result.conversation_of[member.id], member)
        of_reference |= result.moved_references
        for id_, conversation in result.moved_members.items():
            stored[id_] = (conversation, stored[id_][1])
    grouped: dict[str, set[str]] = {}
    for conversation, member in stored.values():
        grouped.setdefault(conversation, set()).add(member.id)
    whole = {frozenset(member.id for member in group) for group in components(members)}
    assert {frozenset(group) for group in grouped.values()} == whole


def _outline(members: list[Member]) -> list[Member]:
    ordered = sorted(members, key=lambda member: (member.occurred_at, member.id))
    ends = {ordered[0].id, ordered[-1].id} if ordered else set()
    return [member for member in ordered if member.id in ends or member.ticket or member.support_request]


@settings(max_examples=500)
@given(stored=_members, reported=_members, keep=st.booleans())
def test_what_is_said_of_a_growing_conversation_is_what_all_its_members_would_give(
    *, stored: list[Member], reported: list[Member], keep: bool
) -> None:
    label = {member.id: f"c{min(one.id for one in group)}" for group in components(stored) for member in group}
    known = {member.id: member for member in stored}
    of_reference = {name: label[member.id] for member in stored for name in member.references}
    touched = {
        member.id: msgspec.structs.replace(member, references=known[member.id].references)
        if keep and member.id in known
        else member
        for member in reported
    }
    proposed = {id_: f"new {id_}" for id_ in touched if id_ not in known}
    for id_, member in touched.items():
        for name in member.references:
            of_reference.setdefault(name, label[id_] if id_ in known else proposed[id_])
    before = {id_: (label[id_], known[id_]) for id_ in touched if id_ in known}
    candidates = growing(touched, before, of_reference, {*label.values()})
    outlines = {
        conversation: _outline(
            [member for member in stored if label[member.id] == conversation and member.id not in touched]
        )
        for conversation in candidates
    }
    grown = grow(candidates, touched, before, outlines)
    number = itertools.count()
    whole = regroup(
        touched,
        [(label[member.id], member) for member in stored],
        {name: of_reference[name] for member in touched.values() for name in member.references},
        proposed,
        lambda: f"fresh {next(number)}",
    )
    assert grown.conversation_of == {id_: whole.conversation_of[id_] for id_ in grown.conversation_of}
    for id_, conversation in grown.conversation_of.items():
        assert grown.summaries[conversation] == whole.summaries[id_]
        assert (conversation in grown.to_read_again) == (conversation in whole.to_read_again)


def test_who_loses_what_it_referred_to_leaves_for_a_conversation_of_its_own() -> None:
    first, second, leaving = (Member(id_, at(), ("ticket:1",)) for id_ in ("1", "2", "3"))
    gone = Member("3", at(), ("ticket:2",))
    candidates = growing({"3": gone}, {"3": ("c", leaving)}, {"ticket:2": "c"}, {"c"})
    assert not candidates
    result = regroup({"3": gone}, [("c", first), ("c", second), ("c", leaving)], {"ticket:2": "c"}, {}, lambda: "fresh")
    assert result.conversation_of == {"3": "fresh"}
    assert result.moved_references == {"ticket:2": "fresh"}


def test_who_is_led_by_a_reference_that_nobody_has_any_more_begins_a_conversation() -> None:
    other, joining = Member("1", at(), ("ticket:1",)), Member("2", at(), ("ticket:lost",))
    candidates = growing({"2": joining}, {}, {"ticket:lost": "c"}, {"c"})
    assert not grow(candidates, {"2": joining}, {}, {"c": [other]}).conversation_of
    result = regroup({"2": joining}, [("c", other)], {"ticket:lost": "c"}, {"2": "new"}, lambda: "unwanted")
    assert result.conversation_of == {"2": "new"}
