"""SQL of metrics by family of tables: facts, states (with buckets), accounts (with users), rollups, and reading."""
