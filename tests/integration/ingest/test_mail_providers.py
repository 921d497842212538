"""The same large mail from a mail server, from Postmark and from Mailgun: one interaction, no attachment in memory."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson

from services.ingest.verify import SchemeName, sign
from services.ingest.verify.proof import Stamp
from services.ingest.verify.tokens import mailgun_fields
from tests.integration.ingest.conftest import SECRETS, StartIngest

PASSWORD = "postmark:a-password-of-ours"
SIGNING_KEY = "key-of-mailgun-0123456789"
ATTACHMENT = base64.encodebytes(b"%PDF" * 2_500_000)
"""More than any body that is held."""
HEADERS = {
    "From": "Bob Miller <bob@acme.example>",
    "To": "Anna Brandt <anna@brightwell.example>",
    "Subject": "Order",
    "Date": "Mon, 2 Mar 2026 09:29:59 +0100",
    "Message-ID": "<order-1@acme.example>",
}
SOURCES = """
[sources.postmark]
provider = "postmark"
mailbox = "support@brightwell.example"
secret_files = ["postmark.secret"]
[sources.postmark-quiet]
provider = "postmark"
mailbox = "hr@brightwell.example"
content = false
secret_files = ["postmark.secret"]
[sources.mailgun]
provider = "mailgun"
mailbox = "sales@brightwell.example"
secret_files = ["mailgun.secret"]
"""


def raw() -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return (
        f'{head}Content-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\n\r\nWe take ten.\r\n--m\r\n'
        "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + ATTACHMENT + b"\r\n--m--\r\n"  # fmt: skip


def from_postmark() -> bytes:
    content = ATTACHMENT.replace(b"\n", b"").decode()
    return orjson.dumps(
        {
            "FromFull": {"Email": "bob@acme.example", "Name": "Bob Miller"},
            "ToFull": [{"Email": "anna@brightwell.example", "Name": "Anna Brandt"}],
            "OriginalRecipient": "support@brightwell.example",
            "Attachments": [{"Name": "a.pdf", "Content": content, "ContentType": "application/pdf"}],
            "Subject": HEADERS["Subject"],
            "Date": HEADERS["Date"],
            "TextBody": "We take ten.",
            "Headers": [{"Name": "Message-ID", "Value": HEADERS["Message-ID"]}],
        }
    )


def from_mailgun() -> bytes:
    proof = mailgun_fields(SIGNING_KEY, Stamp(int(time.time()), "0123456789"))
    fields = {**proof, "message-headers": orjson.dumps(list(HEADERS.items())).decode(), "body-plain": "We take ten."}
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = '--b\r\nContent-Disposition: form-data; name="attachment-1"; filename="a.pdf"\r\n'
    head = "".join(parts) + file + "Content-Type: application/pdf\r\n\r\n"
    return head.encode() + ATTACHMENT + b"\r\n--b--\r\n"


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


async def test_a_large_mail_is_one_interaction_from_wherever_it_comes(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    (tmp_path / "postmark.secret").write_text(PASSWORD)
    (tmp_path / "mailgun.secret").write_text(SIGNING_KEY)
    ingest = await start_ingest(SOURCES)
    basic = {"authorization": "Basic " + base64.b64encode(PASSWORD.encode()).decode()}
    json = {"content-type": "application/json"}

    signed = sign(SchemeName.STANDARD_WEBHOOKS, SECRETS["mail.secret"], raw(), identifier="msg_1")
    path, headers = "/v1/mail/mail-anna", {"content-type": "message/rfc822", **signed}
    response = await ingest.http.post(path, content=in_pieces(raw()), headers=headers)
    assert (response.status_code, response.json()) == (202, {"accepted": 1})
    response = await ingest.http.post(path, content=in_pieces(raw() + b"x"), headers=headers)
    assert response.status_code == 401

    body = from_postmark()
    response = await ingest.http.post("/v1/webhooks/postmark", content=in_pieces(body), headers={**json, **basic})
    assert (response.status_code, response.json()) == (200, {"accepted": 1})
    response = await ingest.http.post("/v1/webhooks/postmark", content=body, headers=json)
    assert response.status_code == 401

    form = {"content-type": "multipart/form-data; boundary=b"}
    response = await ingest.http.post("/v1/webhooks/mailgun", content=in_pieces(from_mailgun()), headers=form)
    assert (response.status_code, response.json()) == (200, {"accepted": 1})

    # Who is held whole stays small, and what may not be kept is not passed on raw.
    response = await ingest.http.post("/v1/webhooks/desk", content=in_pieces(body), headers=json)
    assert response.status_code == 413
    response = await ingest.http.post("/v1/webhooks/postmark-quiet", content=b"[]", headers={**json, **basic})
    assert response.status_code == 422

    events = await ingest.events(3)
    assert len({event.interaction.id for event in events}) == 1
    assert {event.text for event in events} == {"We take ten."}
    assert {event.report for event in events} == {f"{name}@brightwell.example" for name in ("anna", "support", "sales")}
