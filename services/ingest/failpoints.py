"""Named places around ingest's durable effects; see `services/runtime/failpoints.py`."""

from enum import StrEnum


class IngestFailpoint(StrEnum):
    """The places of ingest."""

    PRODUCING = "ingest.producing"
    """A batch of accepted records is about to be given to the producer; nobody has been answered."""
    ACKNOWLEDGED = "ingest.acknowledged"
    """The broker has acknowledged a batch; its senders have not been told."""
    MAILS_PUBLISHED = "ingest.mails-published"
    """New mails of a folder are with the broker; the folder's cursor has not moved."""
    CURSOR_SAVED = "ingest.cursor-saved"
    """The cursor of a folder has moved."""
