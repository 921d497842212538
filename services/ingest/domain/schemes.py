"""The names of the ways in which providers prove who they are; `services/ingest/verify/` says how each works."""

from enum import StrEnum


class SchemeName(StrEnum):
    """One signature scheme, or another proof that a request comes from whom it says."""

    STANDARD_WEBHOOKS = "standard-webhooks"
    STRIPE = "stripe"
    SLACK = "slack"
    ZENDESK = "zendesk"
    SHOPIFY = "shopify"
    WOOCOMMERCE = "woocommerce"
    JIRA = "jira"
    INTERCOM = "intercom"
    ZAMMAD = "zammad"
    TYPEFORM = "typeform"
    DELIGHTED = "delighted"
    AIRCALL = "aircall"
    TWILIO = "twilio"
    RINGCENTRAL = "ringcentral"
    SENDGRID = "sendgrid"
    MAILGUN = "mailgun"
    SNS = "sns"
    TOKEN = "token"  # noqa: S105 - the name of a scheme
    BASIC = "basic"
