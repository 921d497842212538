"""A mail that a provider took apart is put together again, whatever its headers hold."""

from __future__ import annotations

from email import message_from_bytes

import pytest

from services.ingest.sources.mail_rebuilt import TakenApart


@pytest.mark.parametrize("odd", ["\ud83d", "NUL \x00", "\u202e", "two\r\nlines", "ü" * 500])
def test_headers_that_nobody_could_send_do_no_harm(odd: str) -> None:
    headers = [
        ("From", f"Bob {odd} <bob@acme.example>"),
        ("Content-Type", f"text/plain; name={odd}"),
        (f"X-{odd}", odd),
    ]
    mail = message_from_bytes(TakenApart(headers, text=f"Hello {odd}").put_together())
    assert mail.get_content_type() == "multipart/mixed"
    assert "bob@acme.example" in str(mail["From"])
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == ["text/plain"]
