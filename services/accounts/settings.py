"""What accounts reads from its environment."""

from pydantic import Field

from services.runtime.settings import RuntimeSettings


class AccountsSettings(RuntimeSettings):
    """Settings of accounts, beside those that every service has."""

    default_region: str = Field(
        default="DE",
        pattern=r"^[A-Z]{2}$",
        description="ISO 3166 country of phone numbers that are written without a country code",
    )
