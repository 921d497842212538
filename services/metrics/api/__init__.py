"""HTTP API of metrics: figures per account, manager, team and portfolio as of any day, their evidence, and rates."""

from services.metrics.api.reads import Reads
from services.metrics.api.routes import create_api

__all__ = ["Reads", "create_api"]
