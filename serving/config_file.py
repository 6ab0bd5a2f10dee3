"""Text protos -> plain values: the models to serve, and the files that other flags name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from google.protobuf import text_format

from serving.batching_parameters import BatchingParameters
from serving.config_messages import batching_parameters_message, monitoring_config_message
from serving.errors import InvalidArgument
from serving.lifecycle import ServedModel
from serving.version_policy import All, Latest, Policy, Specific

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig
    from tensorflow_serving.sources.storage_path.file_system_storage_path_source_pb2 import (
        FileSystemStoragePathSourceConfig,
    )

    from serving.flags import Flags

    Message = TypeVar("Message")

_PLATFORM = "tensorflow"
_METRICS_PATH = "/monitoring/prometheus/metrics"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def parse_text_file(path: str, message: Message) -> Message:
    """Fill `message` from a file of protobuf text.

    Raises:
        InvalidArgument: it cannot be read, or is not that.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"Could not read {path}: {error}") from None
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise InvalidArgument(f"Invalid protobuf file: '{path}': {error}") from None
    return message


def served_models(flags: Flags) -> list[ServedModel]:
    """The models that the flags name, directly or through a model config file.

    Raises:
        InvalidArgument: there are none, or one is described wrongly.
    """
    if flags.model_config_file:
        # Only who has such a file waits for TensorFlow's messages to be imported.
        from tensorflow_serving.config import model_server_config_pb2  # noqa: PLC0415

        message = model_server_config_pb2.ModelServerConfig()
        return models_in(parse_text_file(flags.model_config_file, message))
    if not flags.model_base_path:
        raise InvalidArgument(
            "Both server_options.model_base_path and server_options.model_config_file are empty! "
            "Give --model_base_path or --model_config_file."
        )
    return [ServedModel(flags.model_name, _base_path(flags.model_name, flags.model_base_path))]


def models_in(config: ModelServerConfig) -> list[ServedModel]:
    """The models of a `ModelServerConfig`.

    Raises:
        InvalidArgument: there are none, or one is described wrongly.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise InvalidArgument("The model config has no model_config_list; nothing else is served.")
    models = [_model(item) for item in config.model_config_list.config]
    _refuse_duplicates([model.name for model in models])
    return models


def metrics_path(flags: Flags) -> str | None:
    """Where the metrics are served; None where they are not.

    Raises:
        InvalidArgument: the monitoring config file is wrong.
    """
    if not flags.monitoring_config_file:
        return None
    message = monitoring_config_message()
    prometheus = parse_text_file(flags.monitoring_config_file, message).prometheus_config
    return (prometheus.path or _METRICS_PATH) if prometheus.enable else None


def batching_parameters(flags: Flags) -> BatchingParameters | None:
    """How to batch; None is not at all.

    Raises:
        InvalidArgument: the parameters file is wrong, or there but batching is off.
    """
    if not flags.enable_batching:
        if flags.batching_parameters_file:
            raise InvalidArgument(
                "server_options.batching_parameters_file is set without setting "
                "server_options.enable_batching to true."
            )
        return None
    if not flags.batching_parameters_file:
        return BatchingParameters()
    return batching_parameters_in(flags.batching_parameters_file)


def batching_parameters_in(path: str) -> BatchingParameters:
    """Read a file of text `BatchingParameters`.

    Raises:
        InvalidArgument: it is wrong.
    """
    message = parse_text_file(path, batching_parameters_message())
    plain = ("pad_variable_length_inputs",)
    values = {
        item.name: value if item.name in plain else value.value
        for item, value in message.ListFields()
        if item.name != "allowed_batch_sizes"
    }
    return BatchingParameters(**values, allowed_batch_sizes=tuple(message.allowed_batch_sizes))


def _refuse_duplicates(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgument(f"Illegal to list model {name} multiple times in config list")


def _model(item: ModelConfig) -> ServedModel:
    if not item.name:
        raise InvalidArgument("A model in the config list has no name.")
    _check_platform(item)
    return ServedModel(
        item.name,
        _base_path(item.name, item.base_path),
        _policy(item.model_version_policy),
        dict(item.version_labels),
    )


def _check_platform(item: ModelConfig) -> None:
    if item.model_type and item.model_platform:
        raise InvalidArgument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) "
            f"and ModelServerConfig::model_platform. (Model {item.name})"
        )
    if item.model_type > 1:
        raise InvalidArgument(
            f"ModelServerConfig::model_type choice {item.model_type} not supported."
        )
    if not item.model_type and not item.model_platform:
        raise InvalidArgument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            f'nor ModelServerConfig::model_platform. (Model {item.name}: write "{_PLATFORM}")'
        )
    if item.model_platform not in ("", _PLATFORM):
        raise InvalidArgument(
            f"Model {item.name} requests unsupported platform {item.model_platform}"
        )


def _base_path(name: str, text: str) -> Path:
    path = text.removeprefix("file://")
    if _SCHEME.match(path):
        raise InvalidArgument(
            f"Model {name} has base_path {text!r}; only folders of this machine can be served."
        )
    if not path.startswith("/"):
        raise InvalidArgument(
            f"Expected model {name} to have an absolute path or URI; got base_path()={text}"
        )
    return Path(path)


def _policy(policy: FileSystemStoragePathSourceConfig.ServableVersionPolicy) -> Policy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(frozenset(policy.specific.versions))
        case "latest":
            return Latest(policy.latest.num_versions)
    return Latest()
