"""Mail addresses and host names.

An address is lower case with its domain in ASCII (IDNA 2008). That form is what is shown and what mail can be sent to.
Several addresses may be one mailbox: `mailbox_of` says which, only for providers that promise it, and is used for
matching only.
"""

import re
from functools import lru_cache

import idna
from disposable_email_domains import blocklist

_LONGEST_ADDRESS = 320
_LOCAL = re.compile(r"[^\s@<>()\[\]\\,;:\"\x00-\x1f]+")

_PLUS = "+"
_DOTS = "+."
_HABITS = {
    # the provider's word: everything from "+" on is a tag; where it says so, dots mean nothing
    "gmail.com": _DOTS,
    "outlook.com": _PLUS,
    "hotmail.com": _PLUS,
    "live.com": _PLUS,
    "msn.com": _PLUS,
    "icloud.com": _PLUS,
    "me.com": _PLUS,
    "mac.com": _PLUS,
    "fastmail.com": _PLUS,
    "fastmail.fm": _PLUS,
    "proton.me": _PLUS,
    "protonmail.com": _PLUS,
    "pm.me": _PLUS,
    "posteo.de": _PLUS,
    "mailbox.org": _PLUS,
    "yandex.com": _PLUS,
    "yandex.ru": _PLUS,
    "zoho.com": _PLUS,
}
# Two names of one provider for the same mailboxes, by its own word.
_SAME = {"googlemail.com": "gmail.com"}


def normalise_address(raw: str) -> str | None:
    """Return a mail address in its one form, or None when `raw` is none.

    The local part is lowered too: on paper it may matter, at no provider does it.
    """
    text = raw.strip()
    local, at, domain = text.rpartition("@")
    if not at or len(text) > _LONGEST_ADDRESS or not _LOCAL.fullmatch(local):
        return None
    ascii_domain = normalise_domain(domain)
    return None if ascii_domain is None else f"{local.lower()}@{ascii_domain}"


@lru_cache(maxsize=10_000)
def normalise_domain(raw: str) -> str | None:
    """Return a host name in lower-case ASCII, or None when it is none."""
    domain = raw.strip().rstrip(".").lower()
    if "." not in domain:
        return None
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None


@lru_cache(maxsize=65_536)
def mailbox_of(address: str) -> str:
    """Return the one address that stands for all that reach the same mailbox as a normalised `address`.

    Tags are cut and dots left out only where the provider says that they mean nothing. At a company's own domain
    `sales+eu@` and `sales@` may well be two people's, and stay two.
    """
    local, _, domain = address.rpartition("@")
    domain = _SAME.get(domain, domain)
    habits = _HABITS.get(domain)
    if habits is None:
        return address
    plain = local.partition("+")[0]
    if habits is _DOTS:
        plain = plain.replace(".", "")
    return f"{plain or local}@{domain}"


def is_disposable(domain: str) -> bool:
    """Say whether a normalised domain belongs to a service of throw-away addresses."""
    return domain in blocklist
