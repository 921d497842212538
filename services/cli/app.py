"""`tenure`: every command of the command line, one line each in COMMANDS."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

import typer

from deploy.databases import MigrationFault
from deploy.local.processes import LocalFault
from deploy.topics import TopicsFault
from services.cli import (
    alerts,
    conservation,
    databases,
    dead_letters,
    demo,
    doubles,
    erase,
    imports,
    processes,
    rebuild,
    republish,
    restored,
    sources,
    status,
    tokens,
    topics,
)
from services.cli.faults import CommandFault
from services.runtime.settings import SettingsError

# What a module of commands offers: a function that registers them.
COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    processes.register,
    status.register,
    topics.register,
    databases.register,
    tokens.register,
    imports.register,
    doubles.register,
    alerts.register,
    dead_letters.register,
    conservation.register,
    sources.register,
    erase.register,
    rebuild.register,
    republish.register,
    restored.register,
    demo.register,
)

_FOR_PEOPLE = (CommandFault, LocalFault, MigrationFault, SettingsError, TopicsFault)
_INTERRUPTED = 130
_TERMINATED = 143


def build() -> typer.Typer:
    """The application with all commands."""
    app = typer.Typer(
        name="tenure",
        help="Event-driven key account management.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for register in COMMANDS:
        register(app)
    return app


def main() -> int:
    """Runs a command; what is wrong comes as one plain sentence, with exit code 1."""
    # A request to end is an exception like Ctrl-C: what a command has started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it has to say, the sentences below say
    try:
        build()()
    except _FOR_PEOPLE as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    except OSError as fault:
        place = f" ({fault.filename})" if fault.filename else ""
        sys.stderr.write(f"This machine refused: {fault.strerror or fault}{place}.\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
