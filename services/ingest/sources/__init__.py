"""From what a provider sends to events: one module per provider, pure functions over a verified payload."""
