"""Random histories of a small world, and random ways in which they arrive."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from contracts.events import Event
from contracts.values import Authority
from tests.unit.accounts.events import at, event, mail, order, person, refund, ticket, withdrawn

PEOPLE = ("maria@acme.example", "paul@acme.example", "nils@nordic.example", "who@unknown.example", "free@gmail.com")
US = "anna@brightwell.example"

_hours = st.integers(-40, 40)
_orders = st.sampled_from(["1", "2"])


@st.composite
def _order(draw: st.DrawFn) -> Event:
    number = draw(_orders)
    revision = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["order.placed", "order.changed", "order.cancelled"]))
    authority = draw(st.sampled_from([Authority.IMPORT, Authority.LIVE]))
    fields: dict[str, Any] = {
        "order": revision,
        "authority": authority,
        "when": at(hours=draw(_hours)),
        "report": f"{kind}-{draw(st.integers(1, 2))}",
    }
    if draw(st.booleans()):
        fields["parties"] = [person("customer", draw(st.sampled_from(PEOPLE)))]
    return event(kind, "order", number, **fields)


@st.composite
def _refund(draw: st.DrawFn) -> Event:
    fields: dict[str, Any] = {"when": at(hours=draw(_hours))}
    if draw(st.booleans()):
        fields["parties"] = [person("customer", draw(st.sampled_from(PEOPLE)))]
    return refund(
        draw(st.sampled_from(["r1", "r2"])), draw(_orders), order=draw(st.integers(1, 2)), report="only", **fields
    )


@st.composite
def _ticket(draw: st.DrawFn) -> Event:
    step = draw(st.sampled_from(["opened", "resolved", "reopened", "closed"]))
    requester = draw(st.sampled_from(["", *PEOPLE]))
    references = draw(st.lists(st.sampled_from(["<1>", "<2>", "<3>"]), max_size=1))
    return ticket(
        step,
        draw(st.sampled_from(["1", "2"])),
        requester,
        when=at(hours=draw(_hours)),
        order=draw(st.integers(1, 4)),
        references=[{"kind": "message", "value": value} for value in references],
    )


@st.composite
def _comment(draw: st.DrawFn) -> Event:
    parent = {"kind": "ticket", "system": "test:acme", "native_id": draw(st.sampled_from(["1", "2"]))}
    return event(
        "ticket.commented",
        "comment",
        draw(st.sampled_from(["c1", "c2"])),
        report="only",
        when=at(hours=1),
        parent=parent,
        direction="out",
    )


@st.composite
def _mail(draw: st.DrawFn) -> Event:
    own = draw(st.sampled_from(["<1>", "<2>", "<3>", "<4>"]))
    refers = draw(st.lists(st.sampled_from(["<1>", "<2>", "<3>", "<4>"]), max_size=2))
    references = [{"kind": "message", "value": value} for value in {own, *refers}]
    if draw(st.integers(0, 3)) == 0:
        references.append({"kind": "ticket", "value": f"test:acme:{draw(st.sampled_from(['1', '2']))}"})
    sender, to = (draw(st.sampled_from(PEOPLE)), US) if draw(st.booleans()) else (US, draw(st.sampled_from(PEOPLE)))
    parties = [person("from", sender, ours=sender == US), person("to", to, ours=to == US)]
    if draw(st.booleans()):
        parties.append(person("cc", draw(st.sampled_from(PEOPLE))))
    return event(
        "email.received",
        "mail",
        own,
        system="mail",
        report=draw(st.sampled_from(["anna", "ben"])),
        order=draw(st.integers(1, 3)),
        when=at(hours=draw(_hours)),
        mailbox="anna",
        direction="out" if sender == US else "in",
        text=draw(st.sampled_from(["It is broken.", "Thanks a lot!", "About the invoice", "Good morning"])),
        references=references,
        parties=parties,
    )


@st.composite
def _lifecycle(draw: st.DrawFn) -> Event:
    of = draw(
        st.sampled_from(
            [
                order("1", US),
                order("2", US),
                ticket("opened", "1"),
                mail("<1>", US, US),
                mail("<2>", US, US),
                refund("r1", "1"),
            ]
        )
    )
    number = draw(st.integers(1, 4))
    if draw(st.booleans()):
        return withdrawn(of, order=number)
    key = of.interaction
    return event("interaction.restored", key.kind.value, key.native_id, system=key.system, order=number)


histories = st.lists(
    st.one_of(_order(), _refund(), _ticket(), _comment(), _mail(), _lifecycle()), min_size=1, max_size=14
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], list[list[Event]]]:
    """A history, and the same in another order, partly repeated, cut into batches."""
    history = draw(histories)
    repeated = [*history, *draw(st.lists(st.sampled_from(history), max_size=4))]
    shuffled = draw(st.permutations(repeated))
    batches: list[list[Event]] = [[]]
    for one in shuffled:
        cut: bool = draw(st.booleans())
        if cut and batches[-1]:
            batches.append([])
        batches[-1].append(one)
    return history, batches
