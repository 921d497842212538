"""Whose is it, and what is the account now? Owns accounts, people, identities, the ledger, attributions, conversations."""
