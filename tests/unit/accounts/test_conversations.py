"""Conversations by references."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.accounts.domain.conversations import Member, components, summarise
from services.accounts.domain.decide import regroup
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
        result = regroup({member.id: member}, those, asked, {member.id: f"new {member.id}"})
        stored[member.id] = (result.conversation_of[member.id], member)
        of_reference |= result.moved_references
        for id_, conversation in result.moved_members.items():
            stored[id_] = (conversation, stored[id_][1])
    grouped: dict[str, set[str]] = {}
    for conversation, member in stored.values():
        grouped.setdefault(conversation, set()).add(member.id)
    whole = {frozenset(member.id for member in group) for group in components(members)}
    assert {frozenset(group) for group in grouped.values()} == whole
