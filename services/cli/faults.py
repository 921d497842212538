"""What a command refuses to do."""

from services.cli.terminal import plain


class CommandFault(Exception):
    """A command cannot do what it was asked to. The text is a sentence for the person at the keyboard."""

    def __init__(self, sentence: str) -> None:
        # It may quote what a service says, and that what a stranger wrote.
        super().__init__("\n".join(plain(line) for line in sentence.split("\n")))
