"""A running system with Brightwell's sources, a mail server and a simulated clock: demo and tests play here."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from deploy.local.imap import LocalImap
from deploy.local.instance import CHECKOUT
from deploy.local.processes import free_port, spawn, wait_until
from deploy.local.system import System, SystemPlan, start_system
from samples.company import CURRENCY, TIME_ZONE
from samples.history_lines import mailbox_address
from samples.mailroom import KeptMail, kept
from samples.player import Player
from samples.script import Story, story
from samples.sources import POLLED, fresh_secrets, sources_toml

_TRACED = {"TRACE_SAMPLE_RATIO": "1"}


@dataclass(frozen=True, slots=True)
class Theatre:
    """Everything that runs. `stop` ends it."""

    system: System
    player: Player
    mail_folder: Path

    @property
    def mails(self) -> list[KeptMail]:
        """Mails that managers have received."""
        return kept(self.mail_folder)

    def stop(self) -> None:
        """End everything that was started."""
        self.player.client.close()
        self.system.stop()


def open_theatre(
    directory: Path,
    *,
    report: Callable[[str], None] = lambda _: None,
    told: Story | None = None,
    times: int = 1,
    shuffle: Random | None = None,
    ephemeral: bool = False,
    partitions: int | None = None,
    more_secrets: Mapping[str, str] | None = None,
) -> Theatre:
    """Start everything below `directory`, empty, at the story's first moment. Raises LocalFault; then nothing runs.

    `ephemeral`: nothing needs to survive a loss of power, and all data goes when the system is stopped.
    """
    play = told or story()
    secrets = fresh_secrets() | dict(more_secrets or {})
    smtp_port, imap_port = free_port(), free_port()
    plan = SystemPlan(
        sources_toml=sources_toml(play.company, imap_port),
        secrets=secrets,
        clock=play.imported_at,
        time_zone=TIME_ZONE,
        reporting_currency=CURRENCY,
        durable=not ephemeral,
        ephemeral=ephemeral,
        partitions=partitions,
        environment={
            "all": _TRACED,
            "notifier": {
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(smtp_port),
                "MAIL_FROM": "alerts@brightwell.example",
                # only here: web hooks of the tests listen on this machine
                "ALLOWED_NETWORKS": "127.0.0.0/8",
                "SECRETS_DIR": str(directory / "secrets"),
                "DELIVERY_RETRY_SECONDS": "0.5",
            },
        },
    )
    system = start_system(directory, plan, report=report)
    try:
        mail_folder = _start_mailroom(system, smtp_port)
        imap = _start_imap(system, imap_port, play, secrets["imap.secret"])
    except BaseException:
        system.stop()
        raise
    mailboxes = {POLLED: imap.deliver}
    player = Player(system, play, secrets, times=times, shuffle=shuffle, mailboxes=mailboxes)
    return Theatre(system, player, mail_folder)


def _start_imap(system: System, port: int, told: Story, password: str) -> LocalImap:
    address = mailbox_address(told.company, POLLED)
    directory = system.instance.directory / "imap"
    spawned = partial(system.instance.add, "imap")
    imap = LocalImap(directory, address, password, port=port, spawned=spawned)
    imap.start()
    return imap


def _start_mailroom(system: System, port: int) -> Path:
    folder = system.instance.directory / "mail"
    log = system.instance.logs / "mailroom.log"
    command = [sys.executable, "-m", "samples.mailroom", str(port), str(folder)]
    record = spawn(command, mark=str(folder), log=log, directory=CHECKOUT)
    system.instance.add("mailroom", record)
    wait_until(lambda: _listens(port), record=record, what="The mail server of the samples", log=log)
    return folder


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
