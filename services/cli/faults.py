"""What a command refuses to do."""


class CommandFault(Exception):
    """A command cannot do what it was asked to. The text is a sentence for the person at the keyboard."""
