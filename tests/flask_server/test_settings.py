from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_server import create_app
from flask_server.settings import Settings, load_settings
from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_defaults() -> None:
    """With nothing said the router listens on the loopback interface, port 5000."""
    settings = load_settings([], {})
    assert (settings.host, settings.port) == ("127.0.0.1", 5000)
    assert settings.models_file.name == "models.toml"


def test_flag_before_environment_before_default() -> None:
    """A flag counts before an environment variable, that before the default; an empty one says nothing."""
    env = {"PORT": "81", "HOST": "0.0.0.0", "WORKERS": "", "CORS_ORIGINS": "https://a, https://b"}
    settings = load_settings(["--port", "82"], env)
    assert (settings.port, settings.host) == (82, "0.0.0.0")
    assert settings.cors_origins == ("https://a", "https://b")
    assert settings.workers == load_settings([], {}).workers


def test_ipv6_addresses_are_named_in_brackets() -> None:
    """As in a URL: of origins, and of hosts from which images are fetched."""
    env = {"CORS_ORIGINS": "http://[::1]:4200", "FETCH_HOSTS": "[2001:db8::1],[::1]:*"}
    settings = load_settings([], env)
    assert settings.cors_origins == ("http://[::1]:4200",)
    assert settings.fetch_hosts == ("[2001:db8::1]", "[::1]:*")


def test_threads_follow_from_the_models(tmp_path: Path) -> None:
    """Every model has threads for its places, and 32 are left for all else; unless the setting says how many."""
    assert Settings(models_file=tmp_path).threads_for(3) == 3 * (16 + 16) + 32
    assert Settings(models_file=tmp_path, threads=8).threads_for(3) == 8


@pytest.mark.parametrize(
    ("host", "address"), [("::", "[::]:5000"), ("127.0.0.1", "127.0.0.1:5000")]
)
def test_the_address_is_one_of_a_url(host: str, address: str) -> None:
    """An IPv6 address stands in brackets before the port, where it is bound and where it is told."""
    assert load_settings([], {"HOST": host}).address == address


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["--prot", "1"], {}, ["--prot"]),
        (["--port"], {}, ["--port"]),
        (["--port", "0"], {}, ["--port", "1 to 65535"]),
        (["--models", "~nobody-of-this-name/x"], {}, ["--models is", "home"]),
        ([], {"PORT": "x"}, ["PORT", "'x'", "1 to 65535"]),
        ([], {"PORT": "\u0661"}, ["PORT", "1 to 65535"]),
        ([], {"WORKERS": "0"}, ["WORKERS", "from 1 up"]),
        ([], {"MODEL_QUEUE": "-1"}, ["MODEL_QUEUE", "from 0 up"]),
        ([], {"RECEIVE_TIMEOUT": "nan"}, ["RECEIVE_TIMEOUT", "seconds"]),
        ([], {"RECEIVE_TIMEOUT": "0"}, ["RECEIVE_TIMEOUT", "above 0"]),
        ([], {"FETCH_TIMEOUT": "0.0"}, ["FETCH_TIMEOUT", "above 0"]),
        ([], {"KEEP_ALIVE": "long"}, ["KEEP_ALIVE", "seconds"]),
        ([], {"LOG_LEVEL": "loud"}, ["LOG_LEVEL", "debug"]),
        ([], {"CORS_ORIGINS": "https://*.example.com"}, ["CORS_ORIGINS", "https://*.example.com"]),
        ([], {"STATE_DIR": "~nobody-of-this-name/x"}, ["STATE_DIR", "home"]),
        ([], {"CORS_ORIGINS": "https://a.example,foo"}, ["CORS_ORIGINS", "foo", "https://"]),
        ([], {"FETCH_HOSTS": "::1"}, ["FETCH_HOSTS", "[IPv6 address]"]),
        ([], {"TLS_KEY": "/nowhere"}, ["TLS_CERTIFICATE"]),
        ([], {"TLS_KEY": "/nowhere", "TLS_CERTIFICATE": "/nowhere"}, ["/nowhere"]),
    ],
)
def test_values_that_are_not_allowed(
    arguments: list[str], env: dict[str, str], words: list[str]
) -> None:
    """A wrong flag or value is one sentence that names it and what is allowed."""
    with pytest.raises(ConfigError) as wrong:
        load_settings(arguments, env)
    sentence = str(wrong.value)
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image_formats": ("JPEG", "FOO")}, ["IMAGE_FORMATS", "FOO"]),
        ({"trusted_proxies": ("10.0.0.1/8",)}, ["TRUSTED_PROXIES", "10.0.0.1/8"]),
        ({"models_file": Path("/nowhere/models.toml")}, ["/nowhere/models.toml"]),
        ({"placement_file": Path("/nowhere/p.json")}, ["/nowhere/p.json"]),
        ({"placement_file": Path(__file__)}, ["test_settings.py", "JSON"]),
    ],
)
def test_values_that_cannot_be_used(
    models_file: Callable[..., Path], changed: dict[str, object], words: list[str]
) -> None:
    """What only turns out to be wrong when it is used stops the program all the same."""
    values: dict[str, object] = {"models_file": models_file(colours={})} | changed
    with pytest.raises(ConfigError) as wrong:
        create_app(Settings(**values))
    assert all(word in str(wrong.value) for word in words), wrong.value


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('preprocess = "no_such_module:x"', ["[colours]", "'preprocess'", "no_such_module"]),
        ('decode = "json:no_such_function"', ["[colours]", "'decode'", "no_such_function"]),
        ('preprocess = "toy_broken:x"', ["[colours]", "'preprocess'", "toy_broken", "1/0"]),
        ('preprocess = "caffe"\ncolor_mode = "grayscale"', ["[colours]", "'preprocess'", "rgb"]),
    ],
)
def test_functions_that_cannot_be_bound(
    models_file: Callable[..., Path], tmp_path: Path, more: str, words: list[str]
) -> None:
    """A function that is not there is found at start-up; file, table and key are named."""
    (tmp_path / "toy_broken.py").write_text("raise ValueError('1/0')")
    path = models_file(colours={"more": more})
    with pytest.raises(ConfigError) as wrong:
        create_app(Settings(models_file=path))
    assert all(word in str(wrong.value) for word in [str(path), *words]), wrong.value


def test_every_setting_is_documented() -> None:
    """docs/configuration.md has a row for every setting, which begins with what the help says of it."""
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    router, _, _ = page.read_text().partition("## The supervisor")
    rows = [line.split(" | ", 2) for line in router.splitlines() if line[:3] == "| `"]
    told = {row[0].strip("|` "): row[2] for row in rows}
    for item in fields(Settings):
        assert told[item.name.upper()].startswith(item.metadata["meaning"])


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` lists every environment variable with its meaning and its default."""
    with pytest.raises(SystemExit) as ended:
        load_settings(["--help"], {})
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for item in fields(Settings):
        assert any(line.split()[:1] == [item.name.upper()] for line in lines)
    assert any("0: none is kept (default: 75.0)" in line for line in lines)
