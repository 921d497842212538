"""Writes the derived ids into the headers of the golden examples: nobody computes a hash by hand."""

import json

from contracts.codec import encode
from contracts.documents import EXAMPLES, stored, written
from contracts.envelope import format_instant
from contracts.events import BY_TYPE


def renew() -> None:
    """Bring the headers of every event's example in line with its data."""
    for name, model in BY_TYPE.items():
        example = stored(EXAMPLES, name)
        event = model.model_validate_json(json.dumps(example["data"]), extra="forbid")
        example["headers"] |= {
            "ce_id": event.id,
            "ce_subject": event.interaction.id,
            "ce_time": format_instant(event.occurred_at),
            "ce_type": name,
        }
        example["data"] = json.loads(encode(event))
        (EXAMPLES / f"{name}.json").write_text(written(example))


if __name__ == "__main__":
    renew()
