"""What a rebuild found to differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Differences:
    """What new tables said otherwise than the old ones when they took their place.

    `accounts`, `facts`: how many there are now. `different`: accounts whose figures, of whatever day, differ.
    `roll_ups`: days of managers, teams and the portfolio. `copies`: rows by table of accounts, users and teams.
    """

    accounts: int
    facts: int
    different: Sequence[str]
    roll_ups: int
    copies: Mapping[str, int]

    def report(self, examples: int) -> dict[str, Any]:
        """Return it as JSON values, with so many accounts by id."""
        return {
            "accounts": self.accounts,
            "interactions": self.facts,
            "different_accounts": len(self.different),
            "different_account_ids": list(self.different[:examples]),
            "different_roll_ups": self.roll_ups,
            "different_copies": dict(self.copies),
        }
