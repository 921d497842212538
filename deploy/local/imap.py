"""An IMAP server as a plain process, for tests and a first try: one user, one INBOX, kept in memory, on 127.0.0.1."""

from __future__ import annotations

import imaplib
import sys
import time
from pathlib import Path

from deploy.local.processes import LocalFault, ProcessRecord, Spawned, free_port, spawn, stop, wait_until


class LocalImap:
    """One mailbox. Stopped, it forgets its mails; started again, it is another mailbox (a new UIDVALIDITY)."""

    def __init__(
        self, directory: Path, user: str, password: str, *, port: int = 0, spawned: Spawned = lambda _: None
    ) -> None:
        self.user = user
        self.port = port or free_port()
        self.log = directory / "imap.log"
        self.record: ProcessRecord | None = None
        self._password = password
        self._spawned = spawned
        # A comment in the program is how the process is recognised again.
        self._program = f"from pymap.main import main; main()  # {directory}"
        self._mark = str(directory)

    def start(self) -> None:
        """Returns when the server takes connections. Raises LocalFault with its last words when it does not."""
        login = ["dict", "--demo-user", self.user, "--demo-password", self._password]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--no-tls"]
        self.record = spawn([sys.executable, "-c", self._program, *address, *login], mark=self._mark, log=self.log)
        self._spawned(self.record)
        wait_until(self._answers, record=self.record, what="The IMAP server", log=self.log)

    def stop(self) -> None:
        """Ends the server; its mails go with it."""
        if self.record is not None:
            stop(self.record, patience=5)
            self.record = None

    def deliver(self, mail: bytes, folder: str = "INBOX") -> None:
        """Puts a mail (RFC 5322) into a folder."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=10) as client:
            client.login(self.user, self._password)
            if folder != "INBOX":
                client.create(folder)
            answer, said = client.append(folder, "", imaplib.Time2Internaldate(time.time()), mail)
            if answer != "OK":
                raise LocalFault(f"The IMAP server did not take the mail: {said!r}.")

    def count(self, folder: str = "INBOX") -> int:
        """How many mails lie in a folder."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=10) as client:
            client.login(self.user, self._password)
            answer, said = client.select(folder, readonly=True)
            if answer != "OK":
                raise LocalFault(f"The IMAP server did not open {folder}: {said!r}.")
            return int(said[-1] or b"0")

    def _answers(self) -> bool:
        try:
            with imaplib.IMAP4("127.0.0.1", self.port, timeout=5):
                return True
        except (OSError, imaplib.IMAP4.error):
            return False
