"""What ingest reads from its environment."""

from pathlib import Path

from pydantic import Field

from services.runtime.settings import RuntimeSettings


class IngestSettings(RuntimeSettings):
    """Settings of the ingest service."""

    sources_file: Path = Field(
        description="sources.toml: what sends us events, see services/ingest/sources.example.toml"
    )
    accept_seconds: float = Field(default=1.5, gt=0, le=1.9, description="wait for the broker before answering 503")
    publish_limit: int = Field(default=5000, ge=1, description="records waiting for the broker before answering 503")
    publish_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1_000_000, description="bytes waiting for the broker before answering 503"
    )
    linger_ms: int = Field(default=2, ge=0, le=100, description="wait for more records before sending a batch")
