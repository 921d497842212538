"""The HTTP doors: one module each, as plain ASGI routes, because they are the hot path."""
