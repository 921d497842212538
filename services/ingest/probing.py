"""Tries out a mailbox without reading anything of it. Blocking; call it from a thread."""

from collections.abc import Mapping, Sequence

from services.ingest.domain.options import ImapOptions
from services.ingest.imap import ImapSession
from services.ingest.polling import Broken


def probe_mailbox(options: ImapOptions, password: str) -> Sequence[Mapping[str, str]]:
    """Connect, log in and look at each folder; return the steps with their outcomes, the first failure last."""
    steps: list[Mapping[str, str]] = []
    session = ImapSession(options, password)
    try:
        session.open()
        steps.append({"step": "login", "outcome": f"logged in at {options.host}"})
        for folder in options.folder:
            session.look(folder)
            steps.append({"step": "folder", "outcome": f"{folder} can be read"})
    except Broken as broken:
        steps.append({"step": "folder" if steps else "login", "outcome": "failed", "why": str(broken)})
    finally:
        session.close()
    return steps
