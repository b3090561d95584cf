# SPDX-License-Identifier: GPL-2.0-or-later
"""Dataclasses as JSON has them, and back: nested ones, paths, tuples."""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name))
                for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(value: Any, hint: Any) -> Any:
    """VALUE as something of the type HINT."""
    args = typing.get_args(hint)
    if value is None:
        return None
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{name: from_plain(item, hints[name])
                       for name, item in value.items()})
    if hint is Path:
        return Path(value)
    if typing.get_origin(hint) is tuple:
        return tuple(from_plain(item, args[0]) for item in value)
    if typing.get_origin(hint) is list:
        return [from_plain(item, args[0]) for item in value]
    # X | None: all unions that a machine has.
    known = [arg for arg in args if arg is not type(None)]
    if len(known) == 1 and len(args) == 2 and type(None) in args:
        return from_plain(value, known[0])
    return value


def paths_in(value: Any, name: str) -> Iterator[tuple[str, Path]]:
    """Every path in VALUE, by where it is: kernel, root.path."""
    if isinstance(value, Path):
        yield name, value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from paths_in(getattr(value, field.name),
                                f"{name}.{field.name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from paths_in(item, f"{name}.{number}")
