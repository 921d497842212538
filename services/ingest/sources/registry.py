"""Every word that `provider` may be in sources.toml, and which mapping reads what a configured source sends."""

from collections.abc import Mapping
from typing import Any

from services.ingest.domain.mapping import MapMail
from services.ingest.domain.options import CaldavOptions, FolderOptions, ImapOptions, InboundOptions, MailOptions
from services.ingest.domain.provider import BoundProvider, NoOptions, Options, Provider, SourceKind
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources import (
    aircall,
    delighted,
    freshdesk,
    intercom,
    jira,
    mailgun,
    postmark,
    ringcentral,
    sendgrid,
    ses,
    shopify,
    slack,
    stripe,
    twilio,
    typeform,
    woocommerce,
    zammad,
    zendesk,
)
from services.ingest.sources.mail import Mailbox, map_mail
from services.ingest.sources.rows import webhook as rows

WEBHOOKS: Mapping[str, Provider[Any]] = {
    provider.name: provider
    for provider in (
        aircall.PROVIDER,
        delighted.PROVIDER,
        freshdesk.PROVIDER,
        intercom.PROVIDER,
        jira.PROVIDER,
        mailgun.PROVIDER,
        postmark.PROVIDER,
        ringcentral.PROVIDER,
        rows.PROVIDER,
        sendgrid.PROVIDER,
        ses.PROVIDER,
        shopify.PROVIDER,
        slack.PROVIDER,
        stripe.PROVIDER,
        twilio.PROVIDER,
        typeform.PROVIDER,
        woocommerce.PROVIDER,
        zammad.PROVIDER,
        zendesk.PROVIDER,
    )
}
"""What may knock at `/v1/webhooks/{source}`."""

OTHERS: Mapping[str, SourceKind] = {
    kind.name: kind
    for kind in (
        SourceKind("caldav", CaldavOptions, None, has_system=False),
        SourceKind("cloudevents", NoOptions, SchemeName.STANDARD_WEBHOOKS),
        SourceKind("folder", FolderOptions, None, has_system=False),
        SourceKind("imap", ImapOptions, None, has_system=False),
        SourceKind("import", NoOptions, None),
        SourceKind("inbound", InboundOptions, SchemeName.STANDARD_WEBHOOKS, has_system=False, may_be_unsigned=True),
        SourceKind("mail", MailOptions, SchemeName.STANDARD_WEBHOOKS, has_system=False),
    )
}
KINDS: Mapping[str, SourceKind | Provider[Any]] = {**WEBHOOKS, **OTHERS}


def webhook_mappings(options: Mapping[str, tuple[str, Options]]) -> dict[str, BoundProvider]:
    """Return the mapping of every source that sends webhooks. `options`: (provider, options) by the source's name."""
    return {
        name: BoundProvider(WEBHOOKS[provider], WEBHOOKS[provider].bind(chosen))
        for name, (provider, chosen) in options.items()
        if provider in WEBHOOKS
    }


def mail_mappings(options: Mapping[str, tuple[str, Options]]) -> dict[str, MapMail]:
    """Return the mapping of every mailbox that is no webhook, by the source's name."""
    return {
        name: _mailbox(chosen)
        for name, (provider, chosen) in options.items()
        if provider in OTHERS and isinstance(chosen, MailOptions)
    }


def _mailbox(options: MailOptions) -> MapMail:
    mailbox = Mailbox.of(options)
    return lambda raw, origin: map_mail(raw, mailbox, origin)
