"""HTTP API of metrics: figures per account, manager, team and portfolio as of any day, their evidence, and rates."""

from services.metrics.api.freshness import Freshness
from services.metrics.api.reads import Reads
from services.metrics.api.routes import create_api

__all__ = ["Freshness", "Reads", "create_api"]
