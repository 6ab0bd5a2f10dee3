"""The configuration file of a model server: what it loads, and which versions bear which labels."""

from __future__ import annotations

import json
import re
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from model_config import ConfigError, read_version_labels, version_folders, write_whole
from model_config.versions import numbered_folders, recent_versions
from supervisor import readiness
from supervisor.damaged_versions import DamagedVersions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from model_config import ModelConfig
    from model_config.versions import LabelHistory

    _Wanted = Callable[[Collection[int]], set[int]]

_FAILED = re.compile(r"\{name: (\S+) version: (\d+)\} due to error: (.*?)\}, ")
"""How TensorFlow Serving names what keeps it from starting."""


class ServerConfig:
    """TensorFlow Serving's ModelServerConfig as text, kept in step with the versions and labels on disk.

    A model without labels is served as TensorFlow Serving does by default: its newest version. One with labels has
    loaded the newest, each version that bears a label, and the one that bore it before, so that going back is instant.
    Versions that cannot be loaded count as not there.
    """

    def __init__(self, path: Path, url: str, say: Callable[[str], None]) -> None:
        self.path = path
        self._url = url
        self._say = say
        self._models: tuple[ModelConfig, ...] = ()
        self._entries: dict[str, str] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._histories: dict[str, LabelHistory] = {}
        self._damaged = DamagedVersions()
        self._loaded: dict[str, set[int]] = {}
        """The versions that are known to be available, by servable."""
        self._answers = True
        """Whether the model server has answered in this look; a server that hangs is asked once."""
        self._written = ""
        self._complaint = ""

    def serve(self, models: Iterable[ModelConfig]) -> None:
        """Write down that these are served from now on; what could not be loaded is tried again."""
        self._models = tuple(models)
        for model in self._models:
            self._damaged.forget(model.servable)
        self.follow()

    def follow(self) -> None:
        """Replace the file if versions or labels have changed; the model server reads it every second."""
        self._answers = True
        self._entries = {model.servable: self._entry(model) for model in self._models}
        text = model_config_list(self._entries.values())
        if text == self._written:
            return
        try:
            write_whole(self.path, text)
            self._written = text
        except OSError as error:
            self._complain(f"{self.path} cannot be written: {error.strerror}")

    @property
    def unloadable(self) -> dict[str, str]:
        """The names of models that have versions, but none that can be loaded; and why."""
        return {
            model.name: self._damaged.error(model.servable)
            for model in self._models
            if self._entries.get(model.servable) == ""
        }

    def heed(self, last_lines: str) -> None:
        """Leave out what a model server has named as the reason why it does not start."""
        versions = {model.servable: version_folders(model.base_path) for model in self._models}
        for name, number, error in _FAILED.findall(last_lines):
            folder = versions.get(name, {}).get(int(number))
            if folder is not None:
                self._damaged.add(name, int(number), folder, error)
                self._tell_damage(name, int(number), error)
        self.follow()

    def _tell_damage(self, servable: str, version: int, error: str) -> None:
        if self._damaged.is_news(servable, version, error):
            self._say(
                f"version {version} of {servable} cannot be loaded, and is left out until it changes: {error}"
            )

    def _usable(
        self, servable: str, on_disk: Mapping[int, Path], wanted: _Wanted
    ) -> dict[int, Path]:
        """The versions that can be loaded, by what the model server says of those that are wanted of it."""
        usable = self._damaged.usable(servable, on_disk)
        needed = wanted(usable)
        loaded = self._loaded[servable] = self._loaded.get(servable, set()) & needed
        waiting = needed - loaded
        for version in waiting:
            self._damaged.look_at(servable, version, usable[version])
        states = self._states(servable) if waiting else {}
        for version in waiting & states.keys():
            state = states[version]
            if state.is_available:
                loaded.add(version)
            elif state.error and self._damaged.add_if_tried(
                servable, version, usable[version], state.error
            ):
                self._tell_damage(servable, version, state.error)
                del usable[version]
        return usable

    def _states(self, servable: str) -> Mapping[int, readiness.VersionState]:
        """What the model server says; nothing, unasked, if it has not answered in this look already."""
        states = readiness.version_states(self._url, servable) if self._answers else {}
        self._answers = bool(states)
        return states

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
            histories = self._histories.get(name, {})
        if histories != self._histories.get(name):
            self._histories[name] = histories
            self._damaged.forget(name)  # who moves a label may have mended what it moves to
        usable = self._usable(name, on_disk, partial(_wanted, histories))
        if not usable:
            return ""
        if histories:
            return self._labelled(model, histories, usable)
        leaves_out = usable.keys() != numbered_folders(model.base_path).keys()
        return entry(name, base_path, (max(usable),) if leaves_out else ())

    def _labelled(
        self, model: ModelConfig, histories: LabelHistory, usable: Collection[int]
    ) -> str:
        labels = self._settled(model.servable, _bearers(histories, usable))
        versions = _wanted(histories, usable) | ({*labels.values()} & {*usable})
        there = {label: version for label, version in labels.items() if version in usable}
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


def _bearers(histories: LabelHistory, usable: Collection[int]) -> dict[str, int]:
    """What bears a label that cannot be loaded gives it back, as long as that is so, to what bore it before."""
    return {
        label: next((v for v in reversed(history) if v in usable), history[-1])
        for label, history in histories.items()
    }


def _wanted(histories: LabelHistory, usable: Collection[int]) -> set[int]:
    """The versions that are to be loaded."""
    labelled = recent_versions(histories) | {*_bearers(histories, usable).values()}
    return ({max(usable)} if usable else set[int]()) | (labelled & {*usable})


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
