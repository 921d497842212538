"""Options that several commands share: a dataclass says them once, a parameter of that type takes them all."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer needs it: a parameter whose type is a dataclass becomes one option for each of its fields."""
    own = inspect.signature(command, eval_str=True)
    types: dict[str, type[Any]] = {name: one.annotation for name, one in own.parameters.items()}
    groups = {name: kind for name, kind in types.items() if is_dataclass(kind)}
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
    plain = [one for name, one in own.parameters.items() if name not in groups]
    shared = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for options in fields.values() for one in options.values()
    ]

    @functools.wraps(command)
    def call(*arguments: Any, **given: Any) -> None:
        filled = {name: group(**{field: given.pop(field) for field in fields[name]}) for name, group in groups.items()}
        command(*arguments, **given, **filled)

    del call.__wrapped__  # else typer would look at the command again
    first = [one for one in plain if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    last = [one for one in plain if one.kind is inspect.Parameter.KEYWORD_ONLY]
    call.__signature__ = inspect.Signature([*first, *last, *shared])  # type: ignore[attr-defined]  # PEP 362
    call.__annotations__ = {one.name: one.annotation for one in [*plain, *shared]}
    return call
