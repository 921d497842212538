"""Whose is it, and what is the account now? Owns accounts, people, identities, ledger, attributions, conversations."""
