"""Rules over what metrics and accounts say, the alerts that they raise, and their delivery to people and systems."""
