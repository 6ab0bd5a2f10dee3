"""The models file that the router reads in the cluster: what it needs of each table, and where its model server is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from model_config import ConfigError, ModelConfig
from scripts.kubernetes.cluster import REST_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from model_config import Label
    from scripts.kubernetes.cluster import Cluster, ModelServer

MODELS_FILE = "models.toml"
NOT_THE_ROUTERS = {"name", "base_path", "architecture", "architecture_options", "weights", "train"}
"""What a table says for those who export, train or serve; the router reads the rest."""
WRITTEN_APART = {"servable", "labels", "upstream"}
_DEFAULTS = ModelConfig(name="", servable="", base_path=Path())


def service_url(cluster: Cluster, server: ModelServer) -> str:
    """Where the router finds a model server: the address of its Service."""
    return f"http://{server.workload}.{cluster.choices.namespace}.svc:{REST_PORT}"


def model_files(
    cluster: Cluster,
    models: Iterable[ModelConfig],
    upstream: Callable[[ModelServer], tuple[str, str]],
) -> Mapping[str, str]:
    """The router's models file and the labels files that it names, as name -> content.

    Args:
        cluster: Tells which model server serves a model.
        models: The tables to write.
        upstream: Model server -> the servable's name in it, and its base URL.

    Raises:
        ConfigError: A table names a file that only lies on this machine.
    """
    tables: dict[str, Any] = {}
    files: dict[str, str] = {}
    for model in models:
        table = {**_where(cluster, model, upstream), **_changed_keys(model)}
        if model.labels:
            name = f"labels-{model.name}.json"
            content = _labels_file(model.labels)
            name = next((known for known, text in files.items() if text == content), name)
            files[name] = content
            table["labels"] = name
        tables[model.name] = table
    return {MODELS_FILE: tomli_w.dumps(tables), **files}


def _where(
    cluster: Cluster, model: ModelConfig, upstream: Callable[[ModelServer], tuple[str, str]]
) -> dict[str, Any]:
    server = cluster.model_server_of(model)
    if server is None:
        return {"servable": model.servable, "upstream": list(model.upstream)}
    name, url = upstream(server)
    return {"servable": name, "upstream": [url]}


def _changed_keys(model: ModelConfig) -> dict[str, Any]:
    """The keys whose values are not the defaults, so that a new key with a default changes no manifest."""
    return {
        item.name: _toml_value(model, item.name)
        for item in fields(ModelConfig)
        if item.name not in NOT_THE_ROUTERS | WRITTEN_APART
        and getattr(model, item.name) != getattr(_DEFAULTS, item.name)
    }


def _toml_value(model: ModelConfig, key: str) -> object:
    value = getattr(model, key)
    if isinstance(value, Path):
        raise ConfigError(
            f"Table [{model.name}], key '{key}': {value} lies on this machine, and the cluster cannot read it there;"
            " leave the key out of the models file that is rendered."
        )
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _labels_file(labels: tuple[Label, ...]) -> str:
    """A plain list of names where identifiers are class numbers, else Keras' class index."""
    if all(label.id == str(number) for number, label in enumerate(labels)):
        content: object = [label.name for label in labels]
    else:
        content = {str(number): [label.id, label.name] for number, label in enumerate(labels)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"
