"""Whether every delivery reached its receiver, under one key, with one content, and nothing else did."""

from __future__ import annotations

import time
from collections import defaultdict

from tests.faults.ground import Ground
from tests.faults.history import Violation

_SETTLED_WITHIN = 60.0


def check_deliveries(ground: Ground, seed: int) -> list[Violation]:
    """Wait until nothing waits for another attempt, and compare the notifier's queue with the receivers' logs."""
    found: list[Violation] = []

    def complain(subject: str, expected: str, seen: str) -> None:
        found.append(Violation(seed=seed, invariant="deliveries", subject=subject, expected=expected, found=seen))

    if left := _left(ground):
        complain("deliveries that wait", "0 where every receiver is well", str(left))
    states = {str(row[0]): row[1] for row in ground.fetch("notifier", "select delivery_id, state from delivery")}
    bodies = _received(ground)
    for delivery, state in sorted(states.items()):
        if state == "delivered" and delivery not in bodies:
            complain(f"delivery {delivery}", "received, since it is marked as delivered", "never received")
        if state == "dead":
            complain(f"delivery {delivery}", "tried for 72 hours", "given up")
    for key, contents in sorted(bodies.items()):
        if key not in states:
            complain(f"message {key}", "the key of a delivery", "nobody's")
        if len(contents) > 1:
            complain(f"message {key}", "one content under one key", _apart(contents))
    return found


def _apart(contents: set[bytes]) -> str:
    """Where the first two of them differ."""
    first, second, *_ = sorted(contents)
    place = next((at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), len(first))
    near = slice(max(place - 60, 0), place + 100)
    return f"{len(contents)} contents, such as {first[near]!r} and {second[near]!r}"


def _left(ground: Ground) -> int:
    deadline = time.monotonic() + _SETTLED_WITHIN
    waiting = "select count(*) from delivery where state = 'waiting'"
    while (left := int(ground.fetch("notifier", waiting)[0][0])) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _received(ground: Ground) -> dict[str, set[bytes]]:
    """By idempotency key the contents that came."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for call in ground.sinks.hooks:
        bodies[call.headers.get("webhook-id", "")].add(call.body)
    for mail in ground.sinks.mails:
        text = mail.message.get_body(("plain",))
        key = str(mail.message["Message-ID"]).strip("<>").partition("@")[0]
        bodies[key].add(b"" if text is None else str(text.get_content()).encode())
    return bodies
