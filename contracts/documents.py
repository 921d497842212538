"""JSON Schemas of every type, generated from the models, and the golden examples beside them.

The checked-in schemas are what others build on; `make schemas` renews them and refuses what would break a reader.
"""

import json
from pathlib import Path
from typing import Any

from contracts.codec import ALL_TYPES
from contracts.values import Model

SCHEMAS = Path(__file__).parent / "schemas"
EXAMPLES = Path(__file__).parent / "examples"


def schema_of(name: str, model: type[Model]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type's data, as readers take it: unknown fields are let through."""
    schema = model.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": name}


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of every type that crosses a service boundary."""
    return {name: schema_of(name, model) for name, model in ALL_TYPES.items()}


def stored(folder: Path, name: str) -> Any:
    """Return a checked-in document; raises FileNotFoundError for a type that has none."""
    return json.loads((folder / f"{name}.json").read_text())


def written(document: object) -> str:
    """Return a document as it is checked in."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
