"""Ways in which people and organisations are known, normalised as `contracts.values.Identity` says."""

from collections.abc import Iterable
from typing import Literal

from email_validator import EmailNotValidError, validate_email

from contracts.identities import company_domain, mailbox_of, normalise_address, normalise_domain, normalise_phone
from contracts.values import Party

__all__ = ["KINDS", "BadIdentity", "company_domain", "identity_key", "normalise", "party_keys"]

IdentityKind = Literal["address", "phone", "domain", "person", "organisation"]
KINDS: tuple[IdentityKind, ...] = ("address", "phone", "domain", "person", "organisation")
OF_CONTACTS = frozenset({"address", "phone", "person"})
OF_ACCOUNTS = frozenset({"domain", "organisation", "address", "phone"})

_LONGEST = 1024  # contracts.values.NativeId


class BadIdentity(ValueError):
    """The value cannot be an identity of that kind; the text says what to write instead."""


def identity_key(kind: str, value: str) -> str:
    """Return the form in which identities are stored and compared; addresses of one mailbox have the same."""
    return f"{kind}:{mailbox_of(value) if kind == 'address' else value}"


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
        keys.append((kind, identity_key(kind, value)))
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
    keys: list[str] = []
    for party, known_as in parties:
        if party.ours:
            keys += [f"{OURS}{key}" for kind, key in known_as if kind == "address"]
        else:
            keys += [key for _, key in known_as]
    return sorted(set(keys)) if len(keys) > 1 else keys


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
    address = normalise_address(value)
    if address is None:
        raise BadIdentity("is no mail address that sources could report; write one like maria@acme.example")
    return address


def _phone(value: str, region: str | None) -> str:
    number = normalise_phone(value, region)
    if number is None:
        raise BadIdentity(
            "is no phone number that names somebody: too few or too many digits, or no area code; write it with its"
            " country code, like +49 30 901820"
        )
    return number


def _domain(value: str) -> str:
    name = normalise_domain(value.removeprefix("@"))
    if name is None:
        raise BadIdentity("is no domain; write one like acme.example")
    registered = company_domain(name)
    if registered is None:
        raise BadIdentity(
            "belongs to a mail provider or is a public suffix, so it names no company; link people by their addresses"
        )
    return registered
