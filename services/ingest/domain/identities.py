"""People and companies as a source names them, as parties with their identities.

How an address, a phone or a company domain is written is said once for all services, in `contracts.identities`. Domains
of free mail providers say nothing about a company, so they are never stated.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from contracts import standins
from contracts.identities import company_domain, normalise_address, normalise_domain, normalise_phone
from contracts.values import Identity, Party, PartyRole

__all__ = ["Directory", "company_domain", "normalise_address", "normalise_domain", "one_line", "without_tag"]

_LONGEST_NAME = 200
_LONGEST_ID = 1024
_MOST_KNOWN = 16_384
_party = standins.checked_form_of(Party)
_identity = standins.checked_form_of(Identity)
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str | None, longest: int = _LONGEST_NAME) -> str | None:
    """Return `text` as one storable line of at most `longest` characters, or None when nothing is left."""
    if not text:
        return None
    # Nearly all are fine as they are, and this is asked several times for each report.
    if text.isprintable() and "  " not in text and text[0] != " " and text[-1] != " " and len(text) <= longest:
        return text
    return " ".join(_CONTROL.sub(" ", text).split())[:longest].strip() or None


def without_tag(address: str) -> str:
    """Return a normalised address without what may follow a plus: where it is delivered at nearly every provider."""
    local, _, domain = address.rpartition("@")
    plain = local.partition("+")[0]
    return f"{plain}@{domain}" if plain else address


class Directory:
    """What we know about ourselves when we read somebody's name: our domains, and where our local numbers are."""

    def __init__(
        self, own_domains: Iterable[str] = (), default_region: str | None = None, own_addresses: Iterable[str] = ()
    ) -> None:
        self.own_domains = frozenset(filter(None, map(normalise_domain, own_domains)))
        self.own_addresses = frozenset(map(without_tag, own_addresses))
        """Mailboxes of ours under domains that are not, such as a free mail provider's; normalised."""
        self.default_region = default_region
        self._below_ours = tuple(f".{own}" for own in self.own_domains)
        self._elsewhere: dict[str, Directory] = {}
        # Whose an address is is asked with every delivery, about few people again and again. In memory only.
        self._known = lru_cache(maxsize=_MOST_KNOWN)(self._of_raw_address)

    def in_region(self, region: str | None) -> "Directory":
        """Return the directory of a site in `region` (ISO 3166), where national numbers are that country's."""
        if region is None or region == self.default_region:
            return self
        if region not in self._elsewhere:
            self._elsewhere[region] = Directory(self.own_domains, region, self.own_addresses)
        return self._elsewhere[region]

    def phone(self, raw: str, region: str | None = None) -> str | None:
        """Return a number in its one form, or None for withheld, short and impossible ones.

        `region`: where a number without a country code belongs, when that is known better than our own country.
        """
        return normalise_phone(raw, region or self.default_region)

    def is_own(self, address: str) -> bool:
        """Say whether a normalised address is a mailbox of ours, or under one of our domains or a subdomain of one."""
        domain = address.rpartition("@")[2]
        if self.own_addresses and without_tag(address) in self.own_addresses:
            return True
        return domain in self.own_domains or domain.endswith(self._below_ours)

    def company_of(self, address: str) -> str | None:
        """Return the company domain of a normalised address, or None where it names no customer."""
        return None if self.is_own(address) else company_domain(address.rpartition("@")[2])

    def of_address(self, address: str) -> list[Identity]:
        """Return the identities that a normalised address states: itself, and its company's domain."""
        identities = [_identity(kind="address", value=address)]
        domain = self.company_of(address)
        if domain is not None:
            identities.append(_identity(kind="domain", value=domain))
        return identities

    def _of_raw_address(self, raw: str) -> tuple[list[Identity], bool] | None:
        """Return what an address as written states, and whether it is ours; None: it is none."""
        normal = normalise_address(raw)
        return None if normal is None else (self.of_address(normal), self.is_own(normal))

    def party(
        self,
        role: PartyRole,
        *,
        address: str | None = None,
        phone: str | None = None,
        region: str | None = None,
        person: str | None = None,
        organisation: str | None = None,
        name: str | None = None,
        ours: bool = False,
    ) -> Party | None:
        """Return the party that these say, each as the source writes it; None when none of them identifies anybody.

        `person` and `organisation` carry their system already: "zendesk:acme:4711". `region` is the country of `phone`,
        where the source says it. What comes out is a stand-in that `Party` would take, if it can be stored at all.
        """
        identities: list[Identity] = []
        if address:
            # What is that long is hardly an address, and not remembered.
            named = self._known(address) if len(address) <= _LONGEST_ID else self._of_raw_address(address)
            if named is not None:
                identities += named[0]
                ours = ours or named[1]
        number = self.phone(phone, region) if phone else None
        if number is not None:
            identities.append(_identity(kind="phone", value=number))
        if person:
            identities.append(_identity(kind="person", value=person[:_LONGEST_ID]))
        if organisation:
            identities.append(_identity(kind="organisation", value=organisation[:_LONGEST_ID]))
        if not identities:
            return None
        return _party(role=role, identities=tuple(identities), name=one_line(name), ours=ours)
