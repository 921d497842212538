"""What the figures mean, as pure functions: no clock, no database, no broker. `fold` computes all of it anew."""
