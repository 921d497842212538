"""What ingest reads from its environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from services.runtime.settings import RuntimeSettings


class IngestSettings(RuntimeSettings):
    """Settings of the ingest service."""

    sources_file: Path = Field(
        description="sources.toml or a folder of such: what sends us events, see services/ingest/sources.example.toml"
    )
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$")] | None = Field(
        default=None,
        description="the address that providers call, such as https://tenure.example, where a proxy stands before"
        " ingest: some sign the address",
    )
    accept_seconds: float = Field(default=1.5, gt=0, le=1.9, description="wait for the broker before answering 503")
    publish_limit: int = Field(default=5000, ge=1, description="records waiting for the broker before answering 503")
    publish_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1_000_000, description="bytes waiting for the broker before answering 503"
    )
    linger_ms: int = Field(default=2, ge=0, le=100, description="wait for more records before sending a batch")
