"""Brightwell's sources as ingest is configured for them, and secrets for one run."""

from __future__ import annotations

import base64
import secrets

from samples.company import CRM, DESK, OWN_DOMAIN, PHONES, SHOP, Company
from samples.history_lines import CALENDAR, mailbox_address

HISTORY = "history"
POLLED = "mail-anna"

_FIXED = f"""\
own_domains = ["{OWN_DOMAIN}"]
default_region = "DE"

[sources.desk]
provider = "zendesk"
system = "{DESK}"
secret_files = ["desk.secret"]

[sources.phone]
provider = "aircall"
system = "{PHONES}"
secret_files = ["phone.secret"]

[sources.shop]
provider = "shopify"
system = "{SHOP}"
secret_files = ["shop.secret"]

[sources.crm]
provider = "cloudevents"
system = "{CRM}"
secret_files = ["crm.secret"]

[sources.erp]
provider = "inbound"

[sources.{HISTORY}]
provider = "import"
system = "{CALENDAR}"
"""

_OVER_HTTP = """
[sources.{name}]
provider = "mail"
mailbox = "{address}"
secret_files = ["mail.secret"]
"""

_OVER_IMAP = """
[sources.{name}]
provider = "imap"
mailbox = "{address}"
host = "127.0.0.1"
port = {port}
username = "{address}"
password_file = "imap.secret"
folder = "INBOX"
poll_seconds = 0.25
tls = false
"""


def mailboxes(company: Company) -> list[str]:
    """Every mailbox source: one of each who has accounts or a team, and the support's."""
    return [*(f"mail-{person.key}" for person in company.people if person.key != "jonas"), "mail-support"]


def sources_toml(company: Company, imap_port: int) -> str:
    """The file that ingest reads. POLLED is read by IMAP from that port of this machine, the other mailboxes push."""
    parts = [_FIXED]
    for name in mailboxes(company):
        form = _OVER_IMAP if name == POLLED else _OVER_HTTP
        parts.append(form.format(name=name, address=mailbox_address(company, name), port=imap_port))
    return "".join(parts)


def fresh_secrets() -> dict[str, str]:
    """A secret for every file that the sources name, by file."""
    standard = {name: f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("crm", "mail")}
    # in hexadecimal: none may begin with a hyphen, they go through command lines
    plain = {name: secrets.token_hex(24) for name in ("desk", "phone", "shop", "imap")}
    return {f"{name}.secret": secret for name, secret in (standard | plain).items()}
