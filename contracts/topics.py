"""Every topic: who writes it, who reads it, what its key is, how long it is kept. Nothing else is written to Kafka."""

from dataclasses import dataclass
from typing import Literal

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `retention_ms` None: kept by compaction. Partition counts are never changed in place."""

    name: str
    key: str
    producer: str
    consumers: tuple[str, ...]
    carries: str
    types: tuple[str, ...]
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int | None
    replication: int = 3
    min_insync_replicas: int = 2
    max_message_bytes: int = 1_048_576

    def config(self, *, embedded: bool = False) -> dict[str, str]:
        """Return the broker's topic settings; `embedded` is the one-node broker of demo and tests."""
        settings = {
            "cleanup.policy": self.cleanup,
            "min.insync.replicas": "1" if embedded else str(self.min_insync_replicas),
            "max.message.bytes": str(self.max_message_bytes),
        }
        if self.retention_ms is not None:
            settings["retention.ms"] = str(self.retention_ms)
        if self.cleanup == "compact":
            # A stale record must not outlive its successor for long, also on a quiet topic.
            settings["max.compaction.lag.ms"] = str(_DAY_MS)
        return settings


INBOUND = Topic(
    name="tenure.inbound",
    key="any",
    producer="outside",
    consumers=("ingest",),
    carries="CloudEvents that other systems publish themselves; validated by ingest, then passed on",
    types=("tenure.<family>.<event>.v1",),
    partitions=12,
    cleanup="delete",
    retention_ms=7 * _DAY_MS,
)
INTERACTIONS = Topic(
    name="tenure.interactions",
    key="interaction id; for tenure.unmapped.v1 the digest of the bytes",
    producer="ingest",
    consumers=("accounts",),
    carries="what was reported, with the parties as the source names them",
    types=("tenure.<family>.<event>.v1", "tenure.unmapped.v1"),
    partitions=24,
    cleanup="delete",
    retention_ms=35 * _DAY_MS,
)
ACTIVITY = Topic(
    name="tenure.activity",
    key="account id",
    producer="accounts",
    consumers=("metrics", "notifier"),
    carries="attributions: this interaction concerns this account, read this way, version n",
    types=("tenure.attribution.v1",),
    partitions=24,
    cleanup="delete",
    retention_ms=35 * _DAY_MS,
)
ACCOUNTS = Topic(
    name="tenure.accounts",
    key="account:<id>, user:<id> or team:<id>",
    producer="accounts",
    consumers=("metrics", "notifier"),
    carries="accounts, users and teams as they are, with dated intervals",
    types=("tenure.account.v1", "tenure.user.v1", "tenure.team.v1"),
    partitions=12,
    cleanup="compact",
    retention_ms=None,
)
KPIS = Topic(
    name="tenure.kpis",
    key="account id",
    producer="metrics",
    consumers=("notifier",),
    carries="all values of an account, its last touches and open items",
    types=("tenure.kpis.v1",),
    partitions=12,
    cleanup="compact",
    retention_ms=None,
)
ALERTS = Topic(
    name="tenure.alerts",
    key="account id",
    producer="notifier",
    consumers=("anyone",),
    carries="alerts opened, escalated, acknowledged, snoozed, resolved, reopened",
    types=(
        "tenure.alert.opened.v1",
        "tenure.alert.escalated.v1",
        "tenure.alert.acknowledged.v1",
        "tenure.alert.snoozed.v1",
        "tenure.alert.resolved.v1",
        "tenure.alert.reopened.v1",
    ),
    partitions=12,
    cleanup="delete",
    retention_ms=90 * _DAY_MS,
)

TOPICS = (INBOUND, INTERACTIONS, ACTIVITY, ACCOUNTS, KPIS, ALERTS)
