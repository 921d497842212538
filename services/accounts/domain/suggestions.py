"""People who take part and are in no decision group: whom to ask about, and what suggests them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.accounts.domain.identities import identity_key

_SHOWN = 5


@dataclass(slots=True)
class Suggestion:
    """Somebody seen. `contact_id` None: nobody has entered this person yet."""

    identity: str
    """kind:value, the strongest one seen."""
    name: str | None
    contact_id: str | None
    count: int = 0
    last_at: datetime | None = None
    interactions: list[dict[str, Any]] = field(default_factory=list)
    """The latest ones, at most five: id, kind, occurred_at, role."""


def suggest(
    seen: Iterable[Mapping[str, Any]],
    contact_of: Mapping[str, str],
    grouped: Collection[str],
    concerns: Callable[[Mapping[str, Any], str], bool],
) -> list[Suggestion]:
    """Return who took part in `seen` and is in no group, those seen most first.

    `seen` are interactions, the latest first, with id, kind, occurred_at, parties; `contact_of` names contacts by
    identity key; `concerns(party, key)` says whether somebody belongs to the account at all.
    """
    found: dict[str, Suggestion] = {}
    for interaction in seen:
        met: set[str] = set()
        for party in interaction["parties"]:
            if party.get("ours"):
                continue
            keys = [
                identity_key(identity["kind"], identity["value"])
                for identity in party["identities"]
                if identity["kind"] not in {"domain", "organisation"}
            ]
            if not keys:
                continue
            contact = next((contact_of[key] for key in keys if key in contact_of), None)
            if contact in grouped or (contact is None and not concerns(party, keys[0])):
                continue
            name = contact or keys[0]
            if name in met:
                continue
            met.add(name)
            suggestion = found.setdefault(name, Suggestion(keys[0], party.get("name"), contact))
            suggestion.count += 1
            suggestion.last_at = suggestion.last_at or interaction["occurred_at"]
            suggestion.name = suggestion.name or party.get("name")
            if len(suggestion.interactions) < _SHOWN:
                suggestion.interactions.append(
                    {
                        "id": interaction["id"],
                        "kind": interaction["kind"],
                        "occurred_at": interaction["occurred_at"],
                        "role": party["role"],
                    }
                )
    return sorted(found.values(), key=lambda one: (-one.count, one.identity))
