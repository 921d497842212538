"""All planted bugs, and the faults under which they must be caught."""

from __future__ import annotations

from tests.faults.planted import Planted, loop, outlets, states

_CONSUMERS = ("accounts", "metrics", "notifier")

BUGS: dict[str, Planted] = {
    bug.name: bug
    for bug in (
        Planted(
            "offsets-first",
            "offsets are committed before the transaction of their batch",
            _CONSUMERS,
            loop.commit_offsets_first,
            ("failpoints", "kill-postgres", "kill-service", "kill-during-commit"),
            ("conservation",),
        ),
        Planted(
            "no-version-check",
            "metrics takes any version of an attribution for news",
            ("metrics",),
            states.take_any_version,
            ("redelivery",),
            ("kpi", "open items"),
        ),
        Planted(
            "outbox-by-xid",
            "the outbox is published in the order in which its transactions began",
            ("accounts",),
            outlets.order_by_transaction,
            ("blocked-outbox",),
            ("order",),
        ),
        Planted(
            "fold-unlocked",
            "versions are drawn without the account's lock",
            ("accounts",),
            states.draw_without_lock,
            ("crowd",),
            ("order", "publication"),
        ),
        Planted(
            "edit-unlocked",
            "an edit of identities does not lock batches out",
            ("accounts",),
            states.edit_without_lock,
            ("crowd",),
            ("attribution", "unmatched"),
        ),
        Planted(
            "withdrawal-ignored",
            "metrics keeps what was withdrawn",
            ("metrics",),
            states.ignore_withdrawals,
            ("calm",),
            ("kpi", "open items"),
        ),
        Planted(
            "global-slide",
            "one pass moves the day of every account, without their locks",
            ("metrics",),
            states.slide_all_at_once,
            ("calm", "crowd"),
            ("kpi",),
        ),
        Planted(
            "publish-first",
            "records are published before the transaction that says them is committed",
            ("accounts",),
            outlets.publish_before_commit,
            ("kill-during-commit", "failpoints", "postgres-unreachable"),
            ("publication", "order"),
        ),
        Planted(
            "zombie-relay",
            "nobody shuts out a relay that wakes up",
            ("accounts",),
            outlets.leave_unfenced,
            ("zombie",),
            ("order",),
        ),
        Planted(
            "swallowed-exception",
            "what a record cannot be read for is caught and forgotten",
            _CONSUMERS,
            loop.swallow_exceptions,
            ("calm",),
            ("dead letters",),
        ),
        Planted(
            "marked-before-sent",
            "a delivery is marked as sent before it is",
            ("notifier",),
            outlets.mark_before_sending,
            ("receivers",),
            ("deliveries",),
        ),
        Planted(
            "horizon-not-asked",
            "a silence speaks without asking how far everybody has come",
            ("notifier",),
            states.ask_no_horizon,
            ("left-behind",),
            ("silence",),
        ),
    )
}
