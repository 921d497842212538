"""Logs: one JSON object per line on stderr, those of libraries included."""

import logging
import sys
import time

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_REPEAT_SECONDS = 10.0
_QUIET = ("aiokafka", "faststream", "uvicorn", "asyncio", "opentelemetry", "httpx2", "httpcore2")


def configure(service: str, level: str = "info") -> None:
    """Send everything at `level` or above to stderr as JSON lines that name `service`."""

    def named(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    # Tracebacks without local variables: those may hold what people wrote.
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_dumps),
            ],
        )
    )
    handler.addFilter(_OncePerWhile(("aiokafka",)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _OncePerWhile(logging.Filter):
    """Lets the same message of the given loggers pass once in ten seconds: a broker that is away is said, not sung."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._names = names
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(self._names):
            return True
        now = time.monotonic()
        said = (record.name, str(record.msg))
        if now - self._last.get(said, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._last[said] = now
        return True


def _dumps(event: object, **_options: object) -> str:
    return orjson.dumps(event, default=str).decode()
