"""The command line, and the files it names."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from serving.__main__ import set_up_tensorflow
from serving.batching_parameters import BatchingParameters
from serving.config_file import batching_parameters, metrics_path, served_models
from serving.errors import InvalidArgument
from serving.flags import Flags, parse_flags
from tests.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("machine", "given", "expected"),
    [("x86_64", None, "1"), ("x86_64", "0", "0"), ("aarch64", None, None)],
)
def test_onednn_is_asked_for_where_it_was_measured(
    machine: str, given: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On x86 it is wanted unless somebody has said otherwise; elsewhere TensorFlow decides."""
    environment = {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    set_up_tensorflow()
    assert environment.get("TF_ENABLE_ONEDNN_OPTS") == expected


def test_defaults_are_the_real_servers() -> None:
    """Without a flag, the ports, names and timeouts are those of tensorflow_model_server."""
    flags = parse_flags([])
    assert (flags.port, flags.rest_api_port, flags.model_name) == (8500, 0, "default")
    assert (flags.rest_api_timeout_in_ms, flags.max_num_load_retries) == (30000, 5)
    assert flags.enable_model_warmup
    assert flags.without_effect() == []


ON_ONE_CPU = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from serving.batching_parameters import BatchingParameters
from serving.flags import Flags
print(BatchingParameters().num_batch_threads, Flags().rest_api_num_threads, Flags().grpc_max_threads)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform has no affinity")
def test_threads_are_as_many_as_the_cpus_it_may_use() -> None:
    """In a container with one CPU of many, the defaults count one."""
    done = subprocess.run(
        [sys.executable, "-c", ON_ONE_CPU], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "4", "4"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [("--enable_batching", True), ("--enable_batching=true", True), ("--enable_batching=0", False)],
)
def test_switches(argument: str, value: bool) -> None:  # a parameter of the test
    """A switch may stand alone or say true or false."""
    assert parse_flags([argument]).enable_batching is value


def test_our_own_flags_are_told_from_the_real_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """--help marks as many as it announces, and docs/model-server.md describes the same."""
    with pytest.raises(SystemExit):
        parse_flags(["--help"])
    assert "and two of our own" in capsys.readouterr().out
    ours = {flag.name for flag in fields(Flags) if "(ours)" in flag.metadata["help"]}
    page = (ROOT / "docs" / "model-server.md").read_text()
    section = page.partition("\n## Flags\n")[2].partition("\n## ")[0]
    assert len(ours) == 2
    assert ours == set(re.findall(r"^\| `--(\w+)`", section, re.MULTILINE))


def test_flags_without_effect_are_known_by_name() -> None:
    """A flag of the real server that does nothing here is accepted, and can be told."""
    flags = parse_flags(["--prefer_tflite_model", "--ssl_config_file=x", "--port=0"])
    assert flags.without_effect() == ["ssl_config_file", "prefer_tflite_model"]


def test_an_unknown_flag_prints_the_usage_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """As the real server, it is not stopped by a flag that it does not know."""
    assert parse_flags(["--no_such_flag=1", "--port=9"]).port == 9
    said = capsys.readouterr().out
    assert "unknown argument: --no_such_flag=1" in said
    assert "usage:" in said


@pytest.mark.parametrize(
    "argument",
    [
        "--port=x",
        "--port=-1",
        "--enable_batching=maybe",
        "--rest_api_port=70000",
        "--rest_api_num_threads=0",
        "--grpc_max_threads=0",
    ],
)
def test_a_bad_value_ends_it(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that does not fit its flag is told, with status 255: no other port is opened, no request left unanswered."""
    with pytest.raises(SystemExit) as ended:
        parse_flags([argument])
    assert ended.value.code == 255
    assert argument.split("=", maxsplit=1)[0] in capsys.readouterr().err


def test_one_model() -> None:
    """A name and an absolute folder are a model; anything less is told."""
    (model,) = served_models(parse_flags(["--model_name=m", "--model_base_path=/x"]))
    assert (model.name, str(model.base_path)) == ("m", "/x")
    with pytest.raises(InvalidArgument, match="are empty"):
        served_models(parse_flags([]))
    with pytest.raises(InvalidArgument, match="absolute path or URI"):
        served_models(parse_flags(["--model_base_path=x"]))


def test_batching_parameters(tmp_path: Path) -> None:
    """The parameters file is protobuf text; without the switch it is a mistake."""
    file = tmp_path / "batching.txt"
    file.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 5 } thread_pool_name { value: 'p' }"
        "allowed_batch_sizes: 4 allowed_batch_sizes: 8 pad_variable_length_inputs: true"
    )
    named = f"--batching_parameters_file={file}"
    assert batching_parameters(parse_flags(["--enable_batching", named])) == BatchingParameters(
        max_batch_size=8,
        batch_timeout_micros=5,
        thread_pool_name="p",
        allowed_batch_sizes=(4, 8),
        pad_variable_length_inputs=True,
    )
    assert batching_parameters(parse_flags(["--enable_batching"])) == BatchingParameters()
    assert batching_parameters(parse_flags([])) is None
    with pytest.raises(InvalidArgument, match="without setting"):
        batching_parameters(parse_flags([named]))
    file.write_text("no_such_parameter: 1")
    with pytest.raises(InvalidArgument, match="Invalid protobuf file"):
        batching_parameters(parse_flags(["--enable_batching", named]))


def test_monitoring_config(tmp_path: Path) -> None:
    """Metrics are served where the file says, by default where the real server serves them."""
    file = tmp_path / "monitoring.txt"
    flags = parse_flags([f"--monitoring_config_file={file}"])
    for text, path in (
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/m" }', "/m"),
        ("prometheus_config { enable: false }", None),
    ):
        file.write_text(text)
        assert metrics_path(flags) == path
    assert metrics_path(parse_flags([])) is None
    file.unlink()
    with pytest.raises(InvalidArgument, match="Could not read"):
        metrics_path(flags)
