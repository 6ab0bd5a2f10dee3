"""Manifests -> files: the same objects give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from model_config import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Manifest = Mapping[str, Any]
HEADER = "# Written by scripts/render_kubernetes.py; change models.toml or the command's options, not this file.\n"


class _Dumper(yaml.SafeDumper):
    """Text of several lines stays readable; nothing is folded, sorted or shared by anchors."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Iterable[Manifest]) -> str:
    """YAML text of one or more documents, keys in the order in which they were written down."""
    body = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000
    )
    return HEADER + body


def write_folder(folder: Path, files: Mapping[str, Iterable[Manifest]]) -> None:
    """Write each file beside and rename it; remove manifests of an earlier run that are not written any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        if old.name not in files and old.read_text(encoding="utf-8").startswith(HEADER):
            old.unlink()
    for name, documents in files.items():
        write_whole(folder / name, to_yaml(documents))
