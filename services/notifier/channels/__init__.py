"""Ways to reach people and systems: mail over SMTP, signed web hooks."""
