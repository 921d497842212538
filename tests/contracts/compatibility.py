"""Whether a changed schema still serves old readers and old records. `make schemas` runs this before it writes.

A writer's schema is closed (it writes the fields that it knows, no others), a reader's is open (others pass).
"""

import json
import sys
from copy import deepcopy
from typing import Any

import jsoncompat

from contracts.codec import ALL_TYPES
from contracts.documents import SCHEMAS, schema_of, stored, written

Schema = dict[str, Any]


def closed(schema: Schema) -> Schema:
    """Return the schema of what a writer of that version writes."""
    return _with_objects(schema, additional=False)


def open_(schema: Schema) -> Schema:
    """Return the schema of what a reader of that version reads."""
    return _with_objects(schema, additional=True)


def _with_objects(schema: Schema, *, additional: bool) -> Schema:
    changed = deepcopy(schema)

    def visit(node: object) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node:
                node["additionalProperties"] = additional
            # pydantic's hint for discriminated unions is OpenAPI's word, not JSON Schema's; told apart by `kind`, their
            # members exclude one another, which the checker cannot see.
            node.pop("discriminator", None)
            if "oneOf" in node:
                node["anyOf"] = node.pop("oneOf")
            for child in node.values():
                visit(child)
        elif isinstance(node, list):
            for child in node:
                visit(child)

    visit(changed)
    return changed


def breaks(old: Schema, new: Schema) -> list[str]:
    """Say what the change from `old` to `new` breaks; nothing when it may stay within the version."""
    found = []
    if not jsoncompat.check_compat(json.dumps(open_(old)), json.dumps(closed(new)), "serializer"):
        found.append("a reader of the old version cannot read what is written now")
    if not jsoncompat.check_compat(json.dumps(closed(old)), json.dumps(open_(new)), "deserializer"):
        found.append("a record of the old version cannot be read now")
    found += [f"{name} is gone: readers of the old version look for it" for name in _lost_properties(old, new)]
    return found


def _lost_properties(old: Schema, new: Schema) -> list[str]:
    """A field that nobody writes any more validates everywhere and is still missed."""
    return [
        f"{where}{name}"
        for where, before, after in [
            ("", old, new),
            *((f"{d}.", old["$defs"][d], new.get("$defs", {}).get(d, {})) for d in old.get("$defs", {})),
        ]
        for name in before.get("properties", {})
        if name not in after.get("properties", {})
    ]


def renew() -> int:
    """Write the schemas of all types; refuse, and return 1, when one would break a reader or a record."""
    refused = 0
    for name, model in ALL_TYPES.items():
        new = schema_of(name, model)
        try:
            broken = breaks(stored(SCHEMAS, name), new)
        except FileNotFoundError:
            broken = []
        if broken:
            refused = 1
            sys.stderr.write(f"{name}: {'; '.join(broken)}. Keep the change additive, or make it a new version.\n")
        else:
            (SCHEMAS / f"{name}.json").write_text(written(new))
    return refused


if __name__ == "__main__":
    sys.exit(renew())
