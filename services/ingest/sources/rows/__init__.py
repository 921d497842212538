"""Rows of tables and lines of exports, read by a mapping that says what their columns mean; pure."""
