"""What the notifier reads from its environment."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from pydantic import Field, field_validator, model_validator

from services.notifier.domain.delivery import SmtpServer
from services.runtime.settings import RuntimeSettings


class NotifierSettings(RuntimeSettings):
    """Settings of the notifier beside those of every service."""

    ingest_operations_url: str = Field(description="operations address of ingest, such as http://127.0.0.1:8001")
    accounts_operations_url: str = Field(description="operations address of accounts")
    metrics_operations_url: str = Field(description="operations address of metrics")
    smtp_host: str = Field(default="127.0.0.1", description="mail server that takes our mail")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="587 for most servers that want a login")
    smtp_starttls: bool = Field(default=False, description="true: refuse to send without TLS")
    smtp_username: str | None = Field(default=None, description="unset: no login")
    smtp_password: str | None = Field(default=None, repr=False, description="better in a file of TENURE_SECRETS_DIR")
    mail_from: str = Field(default="tenure@localhost", description="the From address of alerts")
    console_url: str = Field(default="http://127.0.0.1:8080", description="where links in alerts lead")
    allowed_networks: str = Field(
        default="", description="private networks that web hooks may reach, such as 127.0.0.0/8,10.1.0.0/16"
    )
    delivery_retry_seconds: float = Field(
        default=15, gt=0, le=3600, description="first wait after a failed delivery; it doubles up to an hour"
    )

    delivery_lease_seconds: float = Field(
        default=15, ge=1, le=600, description="so long after a replica died, another takes its deliveries over"
    )
    catch_up_after_seconds: float = Field(
        default=300,
        ge=1,
        description="so far behind the clock, or so long unable to see, mails are held and then sent as one",
    )

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        _networks(text)
        return text

    @model_validator(mode="after")
    def _password_is_not_sent_in_the_clear(self) -> Self:
        if self.environment == "production" and self.smtp_password and not self.smtp_starttls:
            message = "TENURE_SMTP_STARTTLS must be true when a password is sent in production; set it"
            raise ValueError(message)
        return self

    @property
    def reading_url(self) -> str:
        """The connection string of the API's reading role; in development the worker's will do."""
        return self.api_database_url or self.database_url

    @property
    def smtp_server(self) -> SmtpServer:
        """Where mail is handed in."""
        return SmtpServer(self.smtp_host, self.smtp_port, self.smtp_starttls, self.smtp_username, self.smtp_password)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The private networks that web hooks may reach."""
        return _networks(self.allowed_networks)

    @property
    def first_retry(self) -> timedelta:
        """The first wait after a failed delivery."""
        return timedelta(seconds=self.delivery_retry_seconds)

    @property
    def catch_up_after(self) -> timedelta:
        """How late we may be before what people are told is held until it is caught up."""
        return timedelta(seconds=self.catch_up_after_seconds)

    @property
    def operations_urls(self) -> dict[str, str]:
        """Where to ask how far the services before us have come, in the order in which records travel."""
        return {
            "ingest": self.ingest_operations_url,
            "accounts": self.accounts_operations_url,
            "metrics": self.metrics_operations_url,
        }


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
