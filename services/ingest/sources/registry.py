"""Which mapping reads what a configured source sends."""

from collections.abc import Mapping

from services.ingest.domain.mapping import MapMail, Mapped, MapWebhook, Origin
from services.ingest.settings import Source
from services.ingest.sources import aircall, shopify, zendesk
from services.ingest.sources.mail import Mailbox, map_mail

_MAIL = frozenset({"mail", "imap"})


def webhook_mappings(sources: Mapping[str, Source]) -> dict[str, MapWebhook]:
    """Return the mapping of every source that sends webhooks, by the source's name."""
    known: dict[str, MapWebhook] = {"zendesk": zendesk.map_webhook, "aircall": aircall.map_webhook}
    mappings = {}
    for name, source in sources.items():
        if source.configuration.provider == "shopify":
            mappings[name] = _shopify(prices_include_tax=source.configuration.prices_include_tax)
        elif source.configuration.provider in known:
            mappings[name] = known[source.configuration.provider]
    return mappings


def mail_mappings(sources: Mapping[str, Source]) -> dict[str, MapMail]:
    """Return the mapping of every mailbox, by the source's name."""
    return {name: _mailbox(source) for name, source in sources.items() if source.configuration.provider in _MAIL}


def _shopify(*, prices_include_tax: bool) -> MapWebhook:
    def map_webhook(payload: object, body: bytes, headers: Mapping[str, str], origin: Origin) -> Mapped:
        return shopify.map_webhook(payload, body, headers, origin, prices_include_tax=prices_include_tax)

    return map_webhook


def _mailbox(source: Source) -> MapMail:
    configuration = source.configuration
    mailbox = Mailbox(configuration.mailbox or "", content=configuration.content, internal=configuration.internal)
    return lambda raw, origin: map_mail(raw, mailbox, origin)
