"""Countries and domains as sources.toml names them, held against those that there are."""

from typing import Annotated

import phonenumbers
from pydantic import AfterValidator, StringConstraints

from contracts.identities import company_domain, normalise_domain


def _supported(region: str) -> str:
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"{region} is no country with telephone numbers")
    return region


def _own(domain: str) -> str:
    """Whoever writes from one of our domains is taken for one of us: a slip here turns customers into colleagues."""
    name = normalise_domain(domain)
    if name is None:
        raise ValueError('must be a domain alone; write what follows the @, such as "acme.example"')
    if company_domain(name) is None:
        raise ValueError(
            "belongs to a mail provider or is a public suffix: everybody there would be one of us;"
            " remove it, and name your mailboxes as sources or their aliases"
        )
    return domain


Region = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(_supported)]
"""ISO 3166 code of a country that has telephone numbers."""
OwnDomain = Annotated[str, AfterValidator(_own)]
"""A domain, or a part of one, where nobody but we ourselves have mailboxes."""
