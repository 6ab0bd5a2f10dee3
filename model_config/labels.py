"""The names of a model's classes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_config.checks import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Label:
    """One class of a model: an identifier (the wnid in ImageNet, else the class number) and its human name."""

    id: str
    name: str


def read_labels(path: Path, *, where: str) -> tuple[Label, ...]:
    """Read a labels file: Keras' class index, or a plain list of names.

    Raises:
        ConfigError: The file cannot be read or is neither; the sentence begins with `where`.
    """
    source = f"{where}, file {path}"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{source} is not JSON text in UTF-8.") from None
    if isinstance(content, dict):
        return _class_index(content, source=source)
    return label_list(content, source=source)


def label_list(content: object, *, source: str) -> tuple[Label, ...]:
    """Names in the order of their class numbers.

    Raises:
        ConfigError: It is no list of names; the sentence begins with `source`.
    """
    if not isinstance(content, list) or not all(map(_is_text, content)):
        raise ConfigError(f"{source}: write a list of names, or Keras' class index.")
    return tuple(Label(id=str(number), name=name) for number, name in enumerate(content))


def _class_index(content: dict[str, Any], *, source: str) -> tuple[Label, ...]:
    """Keras' class index: class number as text -> [wnid, name]."""
    return tuple(
        _class_index_entry(number, content.get(str(number)), source=source)
        for number in range(len(content))
    )


def _class_index_entry(number: int, entry: object, *, source: str) -> Label:
    match entry:
        case [str(wnid), str(name)] if _is_text(wnid) and _is_text(name):
            return Label(id=wnid, name=name)
    raise ConfigError(f'{source}: class {number} must stand there as "{number}": ["id", "name"].')


def _is_text(value: object) -> bool:
    """Whether it can be written as UTF-8: JSON may hold half a character, escaped."""
    return isinstance(value, str) and not re.search(r"[\ud800-\udfff]", value)
