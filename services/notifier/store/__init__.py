"""SQL of the notifier, one module per family of tables."""
