"""What metrics reads from its environment."""

from typing import Self

from pydantic import model_validator

from services.runtime.settings import RuntimeSettings


class MetricsSettings(RuntimeSettings):
    """Settings of metrics: those of every service. The API always reads under its own role."""

    @model_validator(mode="after")
    def _api_has_its_own_role(self) -> Self:
        if not self.api_database_url:
            message = "TENURE_API_DATABASE_URL is not set; give the postgresql:// URL of the API's reading role"
            raise ValueError(message)
        return self
