"""The promises under faults: seeded histories, an oracle, a checker, and what breaks processes in between."""
