"""What metrics does with records and with the passing of days. The tables are given by `app`."""

from services.metrics.handlers.batch import Handlers
from services.metrics.handlers.tables import Tables

__all__ = ["Handlers", "Tables"]
