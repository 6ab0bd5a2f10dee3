"""Two messages that the published `tensorflow-serving-api` package leaves out.

They are described here in protobuf's own terms, so that their text files are read by protobuf
itself. Source: TensorFlow Serving's `monitoring_config.proto` and `session_bundle_config.proto`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PACKAGE = "serving_config"
_INT64, _BOOL, _STRING, _MESSAGE = (
    descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
)
_WRAPPED = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "max_execution_batch_size": "Int64Value",
    "enable_large_batch_splitting": "BoolValue",
    "thread_pool_name": "StringValue",
}


def batching_parameters_message() -> Message:
    """An empty `BatchingParameters`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.Batching"))()


def monitoring_config_message() -> Message:
    """An empty `MonitoringConfig`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.Monitoring"))()


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving_config.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    batching = file.message_type.add(name="Batching")
    for name, wrapper in _WRAPPED.items():
        _add_field(batching, name, _MESSAGE, f".google.protobuf.{wrapper}")
    _add_field(batching, "pad_variable_length_inputs", _BOOL)
    _add_field(batching, "allowed_batch_sizes", _INT64)
    batching.field[-1].label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    prometheus = file.message_type.add(name="Prometheus")
    _add_field(prometheus, "enable", _BOOL)
    _add_field(prometheus, "path", _STRING)
    monitoring = file.message_type.add(name="Monitoring")
    _add_field(monitoring, "prometheus_config", _MESSAGE, f".{_PACKAGE}.Prometheus")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool


def _add_field(
    message: descriptor_pb2.DescriptorProto, name: str, kind: int, type_name: str | None = None
) -> None:
    message.field.add(
        name=name,
        number=len(message.field) + 1,
        type=kind,
        type_name=type_name,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )


_POOL = _pool()
