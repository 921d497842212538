"""The SQL of accounts, split by table family because one module would be too long.

`interactions` (ledger, interactions, conversations, attributions: what the fold needs), `directory` (who is known),
`jobs`, `accounts` (an account's state and its publication), `edits` (what people change), `views` (what the API
reads under row-level security).
"""
