"""Makes of what was read and said the rows and messages that a transaction writes."""

from collections.abc import Mapping
from datetime import datetime

from contracts.activity import Attribution
from contracts.envelope import Envelope
from contracts.interactions import Interaction
from contracts.standins import encode
from services.accounts.domain.decide import Saying
from services.accounts.domain.ports import AttributionRow, InteractionRow, StoredInteraction
from services.accounts.domain.reading import Reading, with_versions


def interaction_row(reading: Reading, conversation_id: str | None) -> InteractionRow:
    """Return what is kept of an interaction; `conversation_id` None: it stands for itself."""
    return InteractionRow(reading, conversation_id, _shown(reading.interaction))


def party_changes(
    stored: Mapping[str, StoredInteraction], readings: Mapping[str, Reading]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """Return pairs of (key, interaction id) that are gone, that came, and those of interactions that were not there."""
    gone: list[tuple[str, str]] = []
    new: list[tuple[str, str]] = []
    fresh: list[tuple[str, str]] = []
    for id_, reading in readings.items():
        row = stored.get(id_)
        if row is None:
            fresh += [(key, id_) for key in reading.keys]
        elif row.keys != reading.keys:
            before, after = set(row.keys), set(reading.keys)
            gone.extend((key, id_) for key in before - after)
            new.extend((key, id_) for key in after - before)
    return gone, new, fresh


def attribution_row(saying: Saying, version: int) -> AttributionRow:
    """Return what is kept of what is said to an account under `version`."""
    body = saying.body
    return AttributionRow(
        interaction_id=saying.reading.interaction.id,
        account_id=saying.account_id,
        version=version,
        digest=saying.digest,
        present=body["present"],
        reason=body["reason"],
        touch_class=body.get("touch_class"),
        conversation_id=body["conversation_id"],
        contacts=tuple(sorted({contact["contact_id"] for contact in body["contacts"]})) if body["contacts"] else (),
        occurred_at=saying.reading.interaction.occurred_at,
    )


def message_of(
    saying: Saying, version: int, state_version: int, cause: tuple[datetime, str | None], run_id: str | None
) -> tuple[str, Envelope, bytes]:
    """Return key, envelope and value of the record that says it.

    `cause`: when what made it be said was recorded, and its trace; `run_id`: of the run that says everything again.
    """
    recorded_at, traceparent = cause
    interaction = saying.reading.interaction
    envelope = Envelope(
        id=f"{saying.account_id}.{version}",
        source="/accounts",
        type=Attribution.TYPE,
        subject=interaction.id,
        time=interaction.occurred_at,
        recordedtime=recorded_at,
        traceparent=traceparent,
        republished=run_id,
    )
    return saying.account_id, envelope, with_versions(saying.content, version, state_version)


def _shown(interaction: Interaction) -> str:
    """What the API shows of an interaction beside its columns. Everything else can be had from the ledger."""
    return encode(
        {
            "parties": interaction.parties,
            "detail": interaction.detail,
            "sources": interaction.sources,
            "imported": interaction.imported,
        }
    ).decode()
