"""Tables in documents that say what the code says: `make docs` writes them, a test compares them."""

import re
from pathlib import Path

from services.accounts.settings import AccountsSettings
from services.ingest.settings import IngestSettings
from services.metrics.settings import MetricsSettings
from services.notifier.settings import NotifierSettings
from services.runtime.settings import PREFIX, RuntimeSettings
from services.runtime.telemetry import Metrics

ROOT = Path(__file__).parents[3]
OPERATIONS = ROOT / "docs" / "operations.md"
_SERVICES: dict[str, type[RuntimeSettings]] = {
    "ingest": IngestSettings,
    "accounts": AccountsSettings,
    "metrics": MetricsSettings,
    "notifier": NotifierSettings,
}


def settings_table() -> str:
    """Every setting of every service, those of all services first."""
    rows = ["| setting | of | default | meaning |", "|---|---|---|---|"]
    rows += _rows("all", RuntimeSettings, frozenset())
    for name, kind in _SERVICES.items():
        rows += _rows(name, kind, frozenset(RuntimeSettings.model_fields))
    return "\n".join(rows)


def _rows(service: str, kind: type[RuntimeSettings], known: frozenset[str]) -> list[str]:
    rows = []
    for name, field in kind.model_fields.items():
        if name in known:
            continue
        default = "required" if field.is_required() else "" if field.default in {None, ""} else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {service} | {default} | {field.description or ''} |")
    return rows


def metrics_table() -> str:
    """Every Prometheus metric, with its labels."""
    rows = ["| metric | labels | meaning |", "|---|---|---|"]
    for collector in Metrics().registry._collector_to_names:  # noqa: SLF001 - the registry has no public listing
        family = next(iter(collector.collect()))
        labels = ", ".join(getattr(collector, "_labelnames", ()))
        rows.append(f"| `{family.name}` ({family.type}) | {labels} | {family.documentation} |")
    return "\n".join(rows)


TABLES = {"settings": settings_table, "metrics": metrics_table}


def with_tables(document: str) -> str:
    """Return the document with each table, between its two markers, as the code says it is."""
    for name, table in TABLES.items():
        between = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        inner = table().replace("\\", r"\\")
        document = between.sub(rf"\g<1>\n{inner}\n\n\g<2>", document)
    return document


if __name__ == "__main__":
    OPERATIONS.write_text(with_tables(OPERATIONS.read_text()))
