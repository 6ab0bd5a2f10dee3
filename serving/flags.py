"""TensorFlow Serving's flags, and two of our own (marked "ours").

Every flag of `tensorflow_model_server` is accepted. Those without effect here are named once, in
the log, when they are set.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from serving.cpus import schedulable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

Value = TypeVar("Value", bool, int, float, str)

EXIT_BAD_FLAG = 255
_CPUS = schedulable_cpus()
_RANGES = (
    ("port", 0, 65535),
    ("rest_api_port", 0, 65535),
    ("rest_api_num_threads", 1, 10_000),
    ("grpc_max_threads", 1, 10_000),
)
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _flag(default: Value, help_text: str, *, effect: bool = True) -> Value:
    return field(default=default, metadata={"help": help_text, "effect": effect})


def _ignored(default: Value) -> Value:
    return _flag(default, "accepted, without effect here", effect=False)


@dataclass(frozen=True)
class Flags:
    """What the command line says; see the help text of each."""

    port: int = _flag(8500, "port of the gRPC API; 0 switches it off")
    rest_api_port: int = _flag(0, "port of the REST API; 0 switches it off")
    rest_api_host: str = _flag(
        "*", "address both APIs listen on: * for all, 127.0.0.1 for this machine only (ours)"
    )
    rest_api_num_threads: int = _flag(4 * _CPUS, "requests of the REST API answered at once")
    rest_api_timeout_in_ms: int = _flag(
        30000, "how long one run of a model may take; 0 is without limit"
    )
    rest_api_enable_cors_support: bool = _flag(False, "let web pages of every origin call")
    grpc_max_threads: int = _flag(4 * _CPUS, "requests of the gRPC API answered at once")
    grpc_socket_path: str = _flag("", "path of a UNIX socket for the gRPC API, beside the port")
    grpc_channel_arguments: str = _flag("", "gRPC's own settings: name=value,name=value")
    enable_grpc_healthcheck_service: bool = _flag(False, "serve gRPC's health service")
    model_name: str = _flag("default", "name of the one model")
    model_base_path: str = _flag("", "folder of the one model's version folders; absolute")
    model_config_file: str = _flag("", "text ModelServerConfig: several models; overrides the two")
    model_config_file_poll_wait_seconds: int = _flag(0, "look at it again this often; 0 is never")
    file_system_poll_wait_seconds: int = _flag(
        1, "look for new versions this often; 0 is once, negative never"
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "let a new label point to a version that is not loaded (yet)"
    )
    max_num_load_retries: int = _flag(5, "how often a version that does not load is tried again")
    load_retry_interval_micros: int = _flag(60_000_000, "and how long to wait before that")
    num_load_threads: int = _flag(0, "versions loaded at once; 0 is one after another")
    num_unload_threads: int = _flag(0, "versions unloaded at once; 0 is one after another")
    enable_batching: bool = _flag(False, "join requests that wait into one run")
    batching_parameters_file: str = _flag("", "text BatchingParameters")
    enable_per_model_batching_parameters: bool = _flag(
        False, "batch by batching_params.pbtxt in a version's folder, and where there is none, not"
    )
    allow_batching_with_partial_padding: bool = _ignored(False)
    monitoring_config_file: str = _flag("", "text MonitoringConfig: Prometheus metrics")
    enable_model_warmup: bool = _flag(
        True, "replay assets.extra/tf_serving_warmup_requests before a version becomes available"
    )
    num_request_iterations_for_warmup: int = _flag(0, "how often; 0 is once")
    saved_model_tags: str = _flag("serve", "which of a SavedModel's graphs, comma-separated")
    enable_signature_method_name_check: bool = _flag(
        False, "classify, regress and predict only signatures made for it"
    )
    tensorflow_session_parallelism: int = _flag(
        0, "threads of a session, unless one of the next two is set; 0 is one a CPU"
    )
    tensorflow_intra_op_parallelism: int = _flag(0, "threads within an operation, likewise")
    tensorflow_inter_op_parallelism: int = _flag(0, "operations at once, likewise")
    tensorflow_session_config_file: str = _flag("", "text ConfigProto for the sessions")
    drain_timeout_seconds: float = _flag(
        30.0, "after SIGTERM, how long running requests may take to finish (ours)"
    )
    version: bool = _flag(False, "print the version and exit")
    ssl_config_file: str = _ignored("")
    platform_config_file: str = _ignored("")
    per_process_gpu_memory_fraction: float = _ignored(0.0)
    flush_filesystem_caches: bool = _ignored(True)
    enable_profiler: bool = _ignored(True)
    remove_unused_fields_from_bundle_metagraph: bool = _ignored(True)
    prefer_tflite_model: bool = _ignored(False)
    use_tflite_model: bool = _ignored(False)
    num_tflite_pools: int = _ignored(1)
    num_tflite_interpreters_per_pool: int = _ignored(1)
    num_tflite_interpreters: int = _ignored(1)
    enable_serialization_as_tensor_content: bool = _flag(
        False, "gRPC: numbers of a prediction as bytes, in tensor_content"
    )
    thread_pool_factory_config_file: str = _ignored("")
    xla_cpu_compilation_enabled: bool = _ignored(False)
    xla_gpu_compilation_enabled: bool = _ignored(False)
    use_alts_credentials: bool = _ignored(False)
    tensorflow_use_multiple_threads: bool = _ignored(False)
    mixed_precision: str = _ignored("")
    skip_initialize_tpu: bool = _ignored(False)
    force_allow_any_version_labels_for_unavailable_models: bool = _ignored(False)

    def without_effect(self) -> list[str]:
        """The flags that were set and change nothing."""
        return [
            f.name
            for f in fields(self)
            if not f.metadata["effect"] and getattr(self, f.name) != f.default
        ]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_FLAG, f"{message}; see --help\n")


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Read the command line.

    An unknown flag is not an error: as with the real server, the usage is printed and it goes on.
    A value that does not fit its flag ends the program with status 255.
    """
    parser = _Parser("python -m serving", allow_abbrev=False, description=__doc__)
    for item in fields(Flags):
        _add(parser, item)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        print(f"unknown argument: {unknown[0]}")  # as it is
        parser.print_usage(sys.stdout)
    flags = Flags(**vars(known))
    for name, least, most in _RANGES:
        if not least <= getattr(flags, name) <= most:
            parser.error(f"--{name} must be from {least} to {most}")
    return flags


def _add(parser: argparse.ArgumentParser, item: Field[Any]) -> None:
    options: dict[str, Any] = {"type": type(item.default)}
    if isinstance(item.default, bool):
        options = {"type": _truth, "nargs": "?", "const": True}
    shown = f"{item.metadata['help']} (default: {item.default!r})".replace("%", "%%")
    parser.add_argument(f"--{item.name}", default=item.default, help=shown, **options)


def _truth(word: str) -> bool:
    try:
        return _WORDS[word.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither true nor false") from None
