"""How people and companies are known, written one way.

Whoever writes an identity down and whoever looks for it use this: ingest when a source names somebody, accounts when a
person enters somebody. Two ways of writing would lose the match without a word.
"""

from contracts.identities.addresses import is_disposable, mailbox_of, normalise_address, normalise_domain
from contracts.identities.companies import company_domain
from contracts.identities.phones import is_withheld, normalise_phone, number_in

__all__ = [
    "company_domain",
    "is_disposable",
    "is_withheld",
    "mailbox_of",
    "normalise_address",
    "normalise_domain",
    "normalise_phone",
    "number_in",
]
