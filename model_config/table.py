"""One table of the models file -> `ModelConfig`: every key checked, every default filled in."""

from __future__ import annotations

import re
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from model_config.architectures import ARCHITECTURES
from model_config.checks import ConfigError, check_choice, check_keys, nearest
from model_config.labels import Label, label_list, read_labels
from model_config.model import (
    COLOR_MODES,
    CONVENTIONS,
    GRAPH_FILTERS,
    RESIZE_FILTERS,
    ModelConfig,
)
from model_config.places import PROJECT
from model_config.versions import VERSION_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESERVED_NAMES = (
    "docs",
    "hello",
    "livez",
    "metrics",
    "models",
    "openapi.json",
    "readyz",
    "samples",
    "static",
)
_MOST_SECONDS = 1_000_000
IMAGENET_LABELS = PROJECT / "imagenet_class_index.json"


class Table:
    """One table while it is being read: each method turns a key into its checked value."""

    def __init__(self, path: Path, name: str, table: Mapping[str, Any]) -> None:
        self.path = path
        self.name = name
        self.table = table

    def model_config(self, saved_models: Path) -> ModelConfig:
        """Check every key and fill in what is not said; `saved_models` is the parent of default base paths."""
        self._check_name()
        check_keys(self.table, _KEYS, where=self._where())
        architecture = self._architecture()
        servable = self._text("servable") or self.name
        if "/" in servable or ":" in servable:
            raise self._wrong("servable", "may hold neither '/' nor ':'")
        config = ModelConfig(
            name=self.name,
            servable=servable,
            base_path=self._path("base_path") or saved_models / servable,
            architecture=architecture,
            architecture_options=self._options(architecture),
            weights=self._weights(architecture),
            preprocess=self._function("preprocess", CONVENTIONS, self._convention(architecture)),
            decode=self._function("decode", ("top_labels",), "top_labels"),
            resize=self._choice("resize", RESIZE_FILTERS, "bilinear"),
            color_mode=self._choice("color_mode", COLOR_MODES, "rgb"),
            input_size=self._input_size(architecture),
            labels=self._labels(architecture),
            upstream=self._upstream(),
            train=self._path("train"),
            top=self._integer("top", 5),
            timeout_seconds=self._seconds("timeout_seconds", 30.0),
            traffic=self._traffic(),
            sticky_header=self._text("sticky_header"),
            shadow=self._shadow(),
            support_set=self._yes_no("support_set"),
        )
        if config.input_size is None and not config.own_preprocess:
            raise self._wrong("input_size", "this key is needed; write [height, width] in pixels")
        if config.preprocess in ("caffe", "torch") and config.channels != 3:
            raise self._wrong(
                "preprocess",
                f"'{config.preprocess}' is for three channels; choose 'tf' or 'none', or color_mode = \"rgb\"",
            )
        if config.support_set and (config.own_preprocess or config.own_decode):
            raise self._wrong("support_set", "goes without functions of your own; remove them")
        if config.support_set and config.resize not in GRAPH_FILTERS:
            raise self._wrong(
                "resize",
                f"with 'support_set' the model itself resizes; choose one of {', '.join(GRAPH_FILTERS)}",
            )
        return config

    def _where(self, key: str | None = None) -> str:
        return f"{self.path}, table [{self.name}]" + (f", key '{key}'" if key else "")

    def _wrong(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self._where(key)}: {what}{'' if what.endswith('?') else '.'}")

    def _check_name(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ConfigError(
                f"{self._where()}: the name is part of a URL; use letters, digits, '_', '-' and '.' only."
            )
        if self.name in RESERVED_NAMES:
            raise ConfigError(
                f"{self._where()}: '{self.name}' is a route of the router itself; choose another name."
            )

    def _path(self, key: str) -> Path | None:
        text = self._text(key)
        if text is None:
            return None
        try:
            return (self.path.parent / Path(text).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError):  # no such ~user, a NUL, a loop of links
            raise self._wrong(key, f"{text!r} is not a path that can be used") from None

    def _text(self, key: str) -> str | None:
        value = self.table.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise self._wrong(key, f"{value!r} is not allowed; write a text in quotes")
        return value

    def _choice(self, key: str, allowed: Iterable[str], default: str) -> str:
        value = self.table.get(key, default)
        check_choice(value, allowed, where=self._where(key))
        return str(value)

    def _integer(self, key: str, default: int) -> int:
        value = self.table.get(key, default)
        if type(value) is not int or value < 1:
            raise self._wrong(key, f"{value!r} is not allowed; write a whole number from 1 up")
        return value

    def _seconds(self, key: str, default: float) -> float:
        value = self.table.get(key, default)
        if type(value) not in (int, float) or not 0 < value <= _MOST_SECONDS:
            raise self._wrong(
                key,
                f"{value!r} is not allowed; write a number of seconds above 0, {_MOST_SECONDS} at most",
            )
        return float(value)

    def _yes_no(self, key: str) -> bool:
        value = self.table.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, f"{value!r} is not allowed; write true or false")
        return value

    def _traffic(self) -> Mapping[str, float]:
        shares = self.table.get("traffic", {})
        if (
            not isinstance(shares, dict)
            or not all(VERSION_LABEL.fullmatch(label) for label in shares)
            or not all(
                type(share) in (int, float) and 0 <= share < inf for share in shares.values()
            )
            or (shares and not any(shares.values()))
        ):
            raise self._wrong(
                "traffic",
                f"{shares!r} is not allowed; write a share from 0 up for each version label, such as"
                " { stable = 90, canary = 10 }",
            )
        return shares

    def _shadow(self) -> str | None:
        label = self._text("shadow")
        if label is not None and not VERSION_LABEL.fullmatch(label):
            raise self._wrong("shadow", f"{label!r} is not allowed; write a version label")
        return label

    def _architecture(self) -> str | None:
        name = self._text("architecture")
        if name is not None and name not in ARCHITECTURES:
            hint = nearest(name, ARCHITECTURES, otherwise="see keras.applications for the names")
            raise self._wrong("architecture", f"keras.applications has no class '{name}'; {hint}")
        return name

    def _convention(self, architecture: str | None) -> str:
        return ARCHITECTURES[architecture][0] if architecture else "none"

    def _options(self, architecture: str | None) -> Mapping[str, Any]:
        options = self.table.get("architecture_options", {})
        if not isinstance(options, dict):
            raise self._wrong(
                "architecture_options", "write a table such as { alpha = 0.25 } in braces"
            )
        if options and architecture is None:
            raise self._wrong("architecture_options", "needs 'architecture' beside it")
        return options

    def _weights(self, architecture: str | None) -> str | None:
        weights = self._text("weights")
        if weights is None:
            return "imagenet" if architecture else None
        if weights in ("imagenet", "random"):
            if architecture is None:
                raise self._wrong("weights", f"'{weights}' needs 'architecture' beside it")
            return weights
        return str(self._path("weights"))

    def _function(self, key: str, named: tuple[str, ...], default: str) -> str:
        value = self._text(key) or default
        if value not in named and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
            raise self._wrong(
                key,
                f"'{value}' is not allowed; choose one of {', '.join(named)}, or name a function as"
                " 'module:function'",
            )
        return value

    def _input_size(self, architecture: str | None) -> tuple[int, int] | None:
        value = self.table.get("input_size")
        if value is None:
            return (ARCHITECTURES[architecture][1],) * 2 if architecture else None
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(type(side) is int and 1 <= side <= 8192 for side in value)
        ):
            raise self._wrong(
                "input_size",
                f"{value!r} is not allowed; write [height, width] in pixels, 1 to 8192",
            )
        return (value[0], value[1])

    def _labels(self, architecture: str | None) -> tuple[Label, ...]:
        value = self.table.get("labels")
        if value is None:
            imagenet = architecture is not None and "classes" not in self._options(architecture)
            return read_labels(IMAGENET_LABELS, where=self._where("labels")) if imagenet else ()
        if isinstance(value, list):
            return label_list(value, source=self._where("labels"))
        path = self._path("labels") if isinstance(value, str) else None
        if path is None:
            raise self._wrong("labels", "write the path of a JSON file or a list of names")
        return read_labels(path, where=self._where("labels"))

    def _upstream(self) -> tuple[str, ...]:
        value = self.table.get("upstream", [])
        urls = [value] if isinstance(value, str) else value
        if not isinstance(urls, list) or not all(_is_base_url(url) for url in urls):
            raise self._wrong(
                "upstream",
                f'{value!r} is not allowed; write URLs such as ["http://127.0.0.1:9000"]',
            )
        return tuple(url.rstrip("/") for url in urls)


def _is_base_url(value: object) -> bool:
    if not isinstance(value, str) or re.search(r"[\x00-\x20\x7f]", value):
        return False
    try:
        parts = urlsplit(value)
        (parts.hostname or "").encode("idna")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


_KEYS = tuple(item.name for item in fields(ModelConfig) if item.name != "name")
