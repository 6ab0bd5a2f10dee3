"""Which model servers are planned, where, and with which command lines."""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING

import pytest

from flask_server.settings import load_settings
from model_config import ConfigError, load_deployment
from supervisor import ports
from supervisor.options import Options, read_options
from supervisor.plan import (
    Plan,
    ServerPlan,
    check_ports,
    make_plan,
    router_command,
    server_command,
)
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakePlan = Callable[..., Plan]

TWO = "[a]\ninput_size = [8, 8]\n[b]\ninput_size = [8, 8]\nservable = 'B'\n"


def options_for(tmp_path: Path, *arguments: str) -> Options:
    """What these flags ask for, in a folder of the test."""
    env = {"STATE_DIR": str(tmp_path), "LOGS_DIR": str(tmp_path), "PATH": str(tmp_path)}
    return read_options(["--models", str(tmp_path / "models.toml"), *arguments], env)


@pytest.fixture
def plan_of(tmp_path: Path) -> MakePlan:
    """Plan a models file with the given text for the given flags."""

    def make(text: str, *arguments: str, before: Plan | None = None) -> Plan:
        path = tmp_path / "models.toml"
        path.write_text(text)
        options = options_for(tmp_path, *arguments)
        return make_plan(load_deployment(path, env={}), options, before=before)

    return make


def test_each_table_gets_a_server_of_its_own(plan_of: MakePlan) -> None:
    """Tables without `upstream` get one model server each, on ports from 9000 up."""
    plan = plan_of(TWO)
    assert [server.name for server in plan.servers] == ["a", "b"]
    first, second = (server.port for server in plan.servers)
    assert ports.FIRST_MODEL_SERVER_PORT <= first < second


def test_ports_in_use_are_passed_over(plan_of: MakePlan) -> None:
    """A port that somebody listens on is not assigned."""
    taken = plan_of(TWO).servers[0].port
    with socket.create_server(("127.0.0.1", taken)):
        assert taken not in [server.port for server in plan_of(TWO).servers]


def test_shared_puts_all_into_one(plan_of: MakePlan) -> None:
    """`model_servers = "shared"` gives all tables without `upstream` one model server."""
    (server,) = plan_of("model_servers = 'shared'\n" + TWO).servers
    assert [model.name for model in server.models] == ["a", "b"]


def test_one_server_for_each_distinct_local_upstream(plan_of: MakePlan) -> None:
    """Two tables that name the same upstream share its server; replicas are two servers."""
    plan = plan_of(
        "[a]\ninput_size = [8, 8]\nupstream = ['http://127.0.0.1:9100', 'http://localhost:9101']\n"
        "[b]\ninput_size = [8, 8]\nupstream = 'http://127.0.0.1:9100'\n"
    )
    assert [(s.name, [m.name for m in s.models]) for s in plan.servers] == [
        ("server_9100", ["a", "b"]),
        ("server_9101", ["a"]),
    ]


def test_spellings_of_this_machine_are_one_server(plan_of: MakePlan) -> None:
    """`localhost`, 127.0.0.1 and 0.0.0.0 with one port are one model server, which every spelling reaches."""
    plan = plan_of(
        "[a]\ninput_size = [8, 8]\nupstream = ['http://localhost:9123', 'http://127.0.0.1:9123']\n"
        "[b]\ninput_size = [8, 8]\nupstream = 'http://0.0.0.0:9123'\n"
    )
    (server,) = plan.servers
    assert server.url == "http://127.0.0.1:9123"
    assert [model.name for model in server.models] == ["a", "b"]
    assert plan.upstream(plan.models[0]) == ("http://localhost:9123", "http://127.0.0.1:9123")


def test_a_server_listens_where_its_upstream_says(plan_of: MakePlan, tmp_path: Path) -> None:
    """An upstream on [::1] is served there, and its port is looked at there."""
    (server,) = plan_of("[a]\ninput_size = [8, 8]\nupstream = 'http://[::1]:9124'\n").servers
    options = options_for(tmp_path, "--model-server", "embedded")
    arguments = server_command(server, options, tmp_path / "a.config").arguments
    assert "--rest_api_host=::1" in arguments
    assert server.url == "http://[::1]:9124"


def test_other_machines_are_left_to_themselves(plan_of: MakePlan) -> None:
    """An upstream on another machine is used and not started."""
    plan = plan_of("[a]\ninput_size = [8, 8]\nupstream = 'http://models.example:8501'\n")
    assert plan.servers == ()
    assert plan.upstream(plan.models[0]) == ("http://models.example:8501",)


def test_two_tables_of_one_servable_share_its_server(plan_of: MakePlan) -> None:
    """Two tables over the same servable are served by one model server, configured once."""
    plan = plan_of(
        "[a]\ninput_size = [8, 8]\nservable = 's'\n[b]\ninput_size = [8, 8]\nservable = 's'\nresize = 'nearest'\n"
    )
    assert [len(server.models) for server in plan.servers] == [2]


def test_only_selects_models(plan_of: MakePlan) -> None:
    """`--only` plans the named models and refuses a name that the file does not declare."""
    plan = plan_of(TWO, "--only", "b")
    assert [model.name for model in plan.models] == ["b"]
    assert plan.left_out == ("a",)
    with pytest.raises(ConfigError, match=r"has no table \[c\]; it declares a, b"):
        plan_of(TWO, "--only", "c")


def test_reading_the_file_again_keeps_addresses(plan_of: MakePlan) -> None:
    """A model that stays keeps the address it was given."""
    before = plan_of(TWO)
    after = plan_of(
        "[b]\ninput_size = [8, 8]\nservable = 'B'\n" + "[c]\ninput_size = [8, 8]\n",
        before=before,
    )
    assert after.servers[0].url == before.servers[1].url
    assert after.servers[1].url not in [server.url for server in before.servers]


@pytest.mark.parametrize(
    ("was", "becomes", "servers"), [("shared", "separate", 2), ("separate", "shared", 1)]
)
def test_another_mode_is_planned_anew(
    plan_of: MakePlan, was: str, becomes: str, servers: int
) -> None:
    """When `model_servers` changes, addresses of the other mode are not kept; otherwise they are."""
    before = plan_of(f"model_servers = '{was}'\n" + TWO)
    after = plan_of(f"model_servers = '{becomes}'\n" + TWO, before=before)
    assert len(after.servers) == servers
    assert plan_of(f"model_servers = '{becomes}'\n" + TWO, before=after) == after


def test_a_binary_that_is_missing_is_said_in_the_plan(
    plan_of: MakePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--check --model-server binary` tells that there is none, unless no server is to be started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no tensorflow_model_server on the PATH"):
        plan_of(TWO, "--model-server", "binary")
    elsewhere = "[a]\ninput_size = [8, 8]\nupstream = 'http://models.example:8501'\n"
    assert plan_of(elsewhere, "--model-server", "binary").servers == ()


def test_no_model_servers(plan_of: MakePlan) -> None:
    """`--model-server none` starts none."""
    assert plan_of(TWO, "--model-server", "none").servers == ()


def test_command_of_the_embedded_server(plan_of: MakePlan, tmp_path: Path) -> None:
    """The embedded server is started with the real one's flags and without gRPC."""
    options = options_for(tmp_path, "--model-server", "embedded")
    (server, _) = plan_of(TWO).servers
    command = server_command(server, options, tmp_path / "a.config")
    assert command.arguments[1:3] == ("-m", "serving")
    assert f"--rest_api_port={server.port}" in command.arguments
    assert "--port=0" in command.arguments


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [((30.0, 44.5), "44500"), ((0.5, 1), "30000")],
)
def test_a_model_server_lets_models_run_as_long_as_they_are_waited_for(
    plan_of: MakePlan, tmp_path: Path, timeouts: tuple[float, float], expected: str
) -> None:
    """The longest `timeout_seconds` of its tables counts, the warm-up's 30 s at least, and the user's own flag first."""
    first, second = timeouts
    text = (
        f"model_servers = 'shared'\n[a]\ninput_size = [8, 8]\ntimeout_seconds = {first}\n"
        f"[b]\ninput_size = [8, 8]\ntimeout_seconds = {second}\n"
    )
    (server,) = plan_of(text).servers
    own = "--rest_api_timeout_in_ms=7"
    options = dataclasses.replace(options_for(tmp_path), model_server_flags=(own,))
    flags = [
        flag
        for flag in server_command(server, options, tmp_path / "a.config").arguments
        if flag.startswith("--rest_api_timeout")
    ]
    assert flags == [f"--rest_api_timeout_in_ms={expected}", own]


def test_the_binary_is_used_where_it_is(
    plan_of: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` takes `tensorflow_model_server` from the PATH, `binary` insists on it."""
    (server, _) = plan_of(TWO).servers
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no tensorflow_model_server on the PATH"):
        server_command(
            server, options_for(tmp_path, "--model-server", "binary"), tmp_path / "a.config"
        )
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    highest = ServerPlan("a", "http://127.0.0.1:65535", server.models)
    for one in (server, highest):
        command = server_command(one, options_for(tmp_path), tmp_path / "a.config")
        assert command.arguments[0] == str(binary)
        (port,) = (flag[7:] for flag in command.arguments if flag.startswith("--port="))
        assert 1 < int(port) < 65536
        assert int(port) != one.port


def test_router_is_told_by_environment(tmp_path: Path) -> None:
    """The router gets its address, the models file and the placement file as environment variables."""
    command = router_command(options_for(tmp_path, "--port", "5123"), tmp_path / "placement.json")
    assert command.env["PORT"] == "5123"
    assert command.env["PLACEMENT_FILE"] == str(tmp_path / "placement.json")


def test_a_port_in_use_is_named(plan_of: MakePlan, tmp_path: Path) -> None:
    """The sentence about a port in use names it, its holder and what to change."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        options = options_for(tmp_path, "--port", str(port))
        with pytest.raises(
            ConfigError, match=rf"Port {port} is in use by process \d+ .*--port {port + 1}"
        ):
            check_ports(plan_of(TWO), options)
        plan = plan_of(f"[a]\ninput_size = [8, 8]\nupstream = 'http://127.0.0.1:{port}'\n")
        with pytest.raises(ConfigError, match=r"change 'upstream' of \[a\]"):
            check_ports(plan, options_for(tmp_path, "--port", str(free_port())))


def test_programs_are_waited_for_as_long_as_they_give_their_requests(
    plan_of: MakePlan, tmp_path: Path
) -> None:
    """The router has its DRAIN_SECONDS and STOP_TIMEOUT to end, a model server its longest run, and both a little more."""
    router = load_settings(env={})
    command = router_command(read_options([], {}), tmp_path / "placement.json")
    assert command.stop_seconds > router.drain_seconds + router.stop_timeout
    longer = read_options([], {"STOP_TIMEOUT": "120", "DRAIN_SECONDS": "2.5"})
    assert longer.router_stop_seconds == 122.5
    (server,) = plan_of("[a]\ninput_size = [8, 8]\ntimeout_seconds = 50\n").servers
    options = options_for(tmp_path, "--model-server", "embedded")
    command = server_command(server, options, tmp_path / "a.config")
    assert "--drain_timeout_seconds=50" in command.arguments
    assert command.stop_seconds > 50


def test_the_routers_times_have_one_default() -> None:
    """What the supervisor takes for the router's DRAIN_SECONDS and STOP_TIMEOUT is what the router does."""
    router = load_settings(env={})
    assert read_options([], {}).router_stop_seconds == router.drain_seconds + router.stop_timeout


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "86400"])
def test_a_wrong_time_to_stop_is_named(seconds: str) -> None:
    """The router would refuse it as well."""
    with pytest.raises(ConfigError, match=f"STOP_TIMEOUT is '{seconds}'"):
        read_options([], {"STOP_TIMEOUT": seconds})


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", ""])
def test_a_wrong_port_is_named(tmp_path: Path, port: str) -> None:
    """PORT must be a number that a port can have."""
    with pytest.raises(ConfigError, match="1 to 65535"):
        options_for(tmp_path, f"--port={port}")


def test_flags_win_over_the_environment(tmp_path: Path) -> None:
    """A flag wins over an environment variable, which wins over the default."""
    env = {"PORT": "6000", "HOST": "0.0.0.0", "STATE_DIR": str(tmp_path)}
    assert read_options(["--port", "6001"], env).port == 6001
    assert read_options([], env).port == 6000
    assert read_options([], env).router_url == "http://127.0.0.1:6000"
    assert read_options([], {}).port == 5000


MOVED = "[a]\ninput_size = [8, 8]\nbase_path = '{}'\n"


@pytest.mark.parametrize("mode", ["", "model_servers = 'shared'\n"])
def test_another_base_path_gets_another_server(plan_of: MakePlan, mode: str) -> None:
    """A model server would take version 1 of another folder for the version 1 that it holds."""
    before = plan_of(mode + MOVED.format("x"))
    (same,) = plan_of(mode + MOVED.format("x"), before=before).servers
    (other,) = plan_of(mode + MOVED.format("y"), before=before).servers
    assert same.url == before.servers[0].url != other.url


def test_another_base_path_under_the_same_upstream_is_refused(plan_of: MakePlan) -> None:
    """Where the table fixes the address there cannot be another server: the sentence says what to do."""
    fixed = MOVED + "upstream = 'http://127.0.0.1:9555'\n"
    before = plan_of(fixed.format("x"))
    with pytest.raises(ConfigError, match="another 'upstream' or 'servable'"):
        plan_of(fixed.format("y"), before=before)
    (elsewhere,) = plan_of(fixed.format("y").replace("9555", "9556"), before=before).servers
    assert elsewhere.port == 9556
