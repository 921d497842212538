"""What identifies a mail, wherever it comes in: by HTTP, from a mailbox, or with history."""

from datetime import UTC, datetime

from contracts.ids import derive_id

MAIL_SYSTEM = "mail"
"""The system of every mail: two mailboxes, or an import, speak of the same one."""


def mail_native_id(message_id: str, sender: str, sent_at: datetime | None) -> str:
    """Return the native id of a mail: a hash of its Message-ID, its sender and its Date to the second.

    `message_id` with its angle brackets, `sender` normalised. A reused or forged Message-ID thus names another mail; a
    hash, because ids outlive the erasure of a person.
    """
    dated = "" if sent_at is None else sent_at.astimezone(UTC).replace(microsecond=0).isoformat()
    return derive_id("mail", message_id, sender, dated)


def unnamed_mail_native_id(sender: str, sent_at: datetime | None, to: str, subject: str, body: str) -> str:
    """Return the native id of a mail without Message-ID; `body` is the digest of its body."""
    dated = "" if sent_at is None else sent_at.astimezone(UTC).replace(microsecond=0).isoformat()
    return derive_id("unnamed-mail", sender, dated, to, subject, body)
