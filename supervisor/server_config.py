"""The configuration file of a model server: what it loads, and which versions bear which labels."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_config import ConfigError, read_version_labels, version_folders, write_whole
from model_config.versions import recent_versions
from supervisor import readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from model_config import ModelConfig
    from model_config.versions import LabelHistory


class ServerConfig:
    """TensorFlow Serving's ModelServerConfig as text, kept in step with the versions and labels on disk.

    A model without labels is served as TensorFlow Serving does by default: its newest version. One with labels has
    loaded the newest, each version that bears a label, and the one that bore it before, so that going back is instant.
    """

    def __init__(self, path: Path, url: str, say: Callable[[str], None]) -> None:
        self.path = path
        self._url = url
        self._say = say
        self._models: tuple[ModelConfig, ...] = ()
        self._entries: dict[str, str] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._written = ""
        self._complaint = ""

    def serve(self, models: Iterable[ModelConfig]) -> None:
        """Write down that these are served from now on."""
        self._models = tuple(models)
        self.follow()

    def follow(self) -> None:
        """Replace the file if versions or labels have changed; the model server reads it every second."""
        self._entries = {model.servable: self._entry(model) for model in self._models}
        text = model_config_list(self._entries.values())
        if text == self._written:
            return
        try:
            write_whole(self.path, text)
            self._written = text
        except OSError as error:
            self._complain(f"{self.path} cannot be written: {error.strerror}")

    def _entry(self, model: ModelConfig) -> str:
        name, base_path = model.servable, str(model.base_path)
        before = self._entries.get(name, entry(name, base_path))
        on_disk = version_folders(model.base_path)
        if not on_disk:  # a disk that is away for a moment
            return before
        try:
            histories = read_version_labels(model.base_path)
        except ConfigError as error:
            self._complain(f"Version labels are not followed: {error}")
            return before
        return self._labelled(model, histories, on_disk) if histories else entry(name, base_path)

    def _labelled(
        self, model: ModelConfig, histories: LabelHistory, on_disk: Collection[int]
    ) -> str:
        wanted = {label: history[-1] for label, history in histories.items()}
        labels = self._settled(model.servable, wanted)
        versions = {max(on_disk), *recent_versions(histories), *labels.values()} & set(on_disk)
        there = {label: version for label, version in labels.items() if version in on_disk}
        return entry(model.servable, str(model.base_path), sorted(versions), there)

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            self._complaint = complaint
            self._say(complaint)

    def _settled(self, servable: str, wanted: Mapping[str, int]) -> Mapping[str, int]:
        borne = self._labels.get(servable, {})
        moving = any(borne.get(label, version) != version for label, version in wanted.items())
        available = readiness.available_versions(self._url, servable) if moving else ()
        self._labels[servable] = settled(wanted, borne, available)
        return self._labels[servable]


def settled(
    wanted: Mapping[str, int], borne: Mapping[str, int], available: Collection[int]
) -> dict[str, int]:
    """Which version bears each label now.

    A label moves only to a version that is loaded, since a model server refuses anything else; a new one may wait for
    its version.

    Args:
        wanted: Label -> version, as people want it.
        borne: Label -> version, as it was until now.
        available: The versions that are loaded.
    """
    return {
        label: version if version in available else borne.get(label, version)
        for label, version in wanted.items()
    }


def model_config_list(entries: Iterable[str]) -> str:
    """The whole of TensorFlow Serving's ModelServerConfig, as text."""
    return "model_config_list {\n" + "".join(entries) + "}\n"


def entry(
    servable: str,
    base_path: str,
    versions: Iterable[int] = (),
    labels: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """One ModelConfig of TensorFlow Serving; no versions mean its default policy, the newest."""
    fields = [
        f"name: {_quoted(servable)}",
        f"base_path: {_quoted(base_path)}",
        'model_platform: "tensorflow"',
    ]
    specific = " ".join(f"versions: {version}" for version in versions)
    if specific:
        fields.append(f"model_version_policy {{ specific {{ {specific} }} }}")
    fields += [
        f"version_labels {{ key: {json.dumps(label)} value: {version} }}"
        for label, version in sorted(labels.items())
    ]
    return f"  config {{ {' '.join(fields)} }}\n"


def _quoted(text: str) -> str:
    """As JSON writes it, but with characters as they are: a text proto knows no pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False)
