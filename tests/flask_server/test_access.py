"""API keys: who may call what, and what nobody may learn."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from flask_server import access, create_app
from flask_server.api_keys import ApiKey, KeyRing, load_keys, new_key, save_keys
from flask_server.settings import Settings, load_settings
from model_config import ConfigError
from model_config.table import RESERVED_NAMES
from tests.flask_server.conftest import encoded
from tests.flask_server.test_failures import check_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))


def write_keys(path: Path, **wanted: dict[str, object]) -> dict[str, str]:
    """Write a file of new keys, each by name with what it may do; return their texts."""
    made = {name: new_key(name, **what) for name, what in wanted.items()}  # type: ignore[arg-type]
    save_keys(path, [key for _, key in made.values()])
    return {name: text for name, (text, _) in made.items()}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """A file with a key for all, one for another model, and one for the metrics."""
    return write_keys(
        tmp_path / "keys.json",
        web={},
        birds={"models": ["birds"]},
        prom={"models": [], "metrics": True},
    )


@pytest.fixture
def guarded(
    keys: dict[str, str], client_of: Callable[..., FlaskClient], tmp_path: Path
) -> FlaskClient:
    """A client of a router that asks for keys."""
    assert keys
    return client_of(api_keys_file=tmp_path / "keys.json", state_dir=tmp_path / "state")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer  {}"},
        {"X-API-Key": "{}"},
        {"Authorization": "Basic eDp5", "X-API-Key": "{}"},
    ],
)
def test_a_key_opens(guarded: FlaskClient, keys: dict[str, str], headers: dict[str, str]) -> None:
    """A valid key is taken from either header."""
    sent = {name: value.format(keys["web"]) for name, value in headers.items()}
    assert guarded.post(PATH, data=RED, headers=sent).status_code == 200


def test_without_a_key(guarded: FlaskClient) -> None:
    """Without a key the answer is 401 and says how to authenticate."""
    response = guarded.post(PATH, data=RED)
    check_problem(response, 401, "Key required")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="keras-front-door"'


def test_keys_that_are_none(guarded: FlaskClient, keys: dict[str, str]) -> None:
    """Any other text than a known key is a 401, even one with the right id or with odd characters."""
    right = keys["web"]
    for wrong in (
        right[:-1],
        right[:-1] + "g",
        right.upper(),
        "x",
        "kfd_00000000_" + "0" * 64,
        "é\u00ff",
    ):
        response = guarded.post(PATH, data=RED, headers={"X-API-Key": wrong})
        check_problem(response, 401, "Key required")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_a_key_for_another_model(guarded: FlaskClient, keys: dict[str, str]) -> None:
    """A key that is not for this model is a 403, whatever was sent."""
    for name in ("birds", "prom"):
        response = guarded.post(PATH, headers={"X-API-Key": keys[name]})
        check_problem(response, 403, "Access denied")


def test_what_stays_open(guarded: FlaskClient) -> None:
    """Probes, preflights and paths that are no route need no key; the list of models and the metrics do."""
    for path in ("/livez", "/readyz", "/hello/"):
        assert guarded.get(path).status_code == 200, path
    preflight = {"Origin": "http://localhost:4200", "Access-Control-Request-Method": "POST"}
    assert guarded.options(PATH, headers=preflight).status_code == 200
    check_problem(guarded.get("/nothing"), 404, "Not Found")
    check_problem(guarded.get("/models/"), 401, "Key required")
    check_problem(guarded.get("/metrics"), 401, "Key required")


def test_only_the_metrics_key_reads_the_metrics(guarded: FlaskClient, keys: dict[str, str]) -> None:
    """`/metrics` takes the keys that were made for it, and no others."""
    assert guarded.get("/metrics", headers={"X-API-Key": keys["prom"]}).status_code == 200
    response = guarded.get("/metrics", headers={"X-API-Key": keys["web"]})
    check_problem(response, 403, "Access denied")


def test_refusals_can_be_read_by_pages(guarded: FlaskClient) -> None:
    """A page of an allowed origin may read the 401, so that it can ask for a key."""
    response = guarded.post(PATH, data=RED, headers={"Origin": "http://localhost:4200"})
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:4200"


def test_the_file_is_read_again(guarded: FlaskClient, keys: dict[str, str], tmp_path: Path) -> None:
    """A key counts from the moment it is in the file, and no longer than that."""
    fresh = write_keys(tmp_path / "keys.json", phone={})["phone"]
    assert guarded.post(PATH, data=RED, headers={"X-API-Key": fresh}).status_code == 200
    assert guarded.post(PATH, data=RED, headers={"X-API-Key": keys["web"]}).status_code == 401


def test_a_secret_of_kubernetes_is_read_again(
    client_of: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """Where the file lies behind a link to a folder, as in a mounted Secret, the folder that the link names now counts."""
    old, new = tmp_path / "..old", tmp_path / "..new"
    old.mkdir()
    new.mkdir()
    revoked = write_keys(old / "keys.json", web={})["web"]
    given = write_keys(new / "keys.json", web={})["web"]
    (tmp_path / "..data").symlink_to(old)
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    env = {"API_KEYS_FILE": str(tmp_path / "keys.json")}
    client = client_of(api_keys_file=load_settings(env=env).api_keys_file)
    assert client.post(PATH, data=RED, headers={"X-API-Key": revoked}).status_code == 200
    (tmp_path / "..data_tmp").symlink_to(new)
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    shutil.rmtree(old)
    assert client.post(PATH, data=RED, headers={"X-API-Key": given}).status_code == 200
    assert client.post(PATH, data=RED, headers={"X-API-Key": revoked}).status_code == 401


@pytest.mark.parametrize("damage", ["{", "[]", '{"keys": [{"name": 1}]}', None])
def test_a_bad_file_changes_nothing(
    guarded: FlaskClient,
    keys: dict[str, str],
    tmp_path: Path,
    damage: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the file is damaged or gone the known keys go on, and the log says why, once."""
    path = tmp_path / "keys.json"
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    for _ in range(2):
        assert guarded.post(PATH, data=RED, headers={"X-API-Key": keys["web"]}).status_code == 200
    assert len([line for line in caplog.messages if "stay as they were" in line]) == 1


def test_a_file_that_could_not_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hindered one reading (no file descriptor was left) does not keep a revoked key alive."""
    text = write_keys(tmp_path / "keys.json", a={})["a"]
    ring = KeyRing(tmp_path / "keys.json")
    write_keys(tmp_path / "keys.json", b={})
    now = time.monotonic()
    with monkeypatch.context() as hindered:
        hindered.setattr(Path, "read_bytes", Mock(side_effect=OSError(errno.EMFILE, "too many")))
        assert ring.find(text)
    assert ring.find(text)
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert not ring.find(text)


def test_a_request_without_a_key_is_counted_for_its_model(
    guarded: FlaskClient, keys: dict[str, str]
) -> None:
    """As one with a key that is not for it is."""

    def refused() -> float:
        told = guarded.get("/metrics", headers={"X-API-Key": keys["prom"]}).text
        count = re.search(
            r'router_requests_total{[^}]*model="colours"[^}]*status="401"[^}]*} (\S+)', told
        )
        return float(count[1]) if count else 0

    before = refused()
    assert guarded.post(PATH, data=RED).status_code == 401
    assert refused() == before + 1


def test_keys_are_in_no_log(
    guarded: FlaskClient, keys: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a header nor a query brings a key into a log line."""
    caplog.set_level(logging.DEBUG)
    guarded.post(PATH, data=RED, headers={"Authorization": f"Bearer {keys['web']}"})
    guarded.post(f"{PATH}?api_key={keys['web']}", data=RED)
    guarded.get(f"/models/?key={keys['web']}")
    assert keys["web"] not in caplog.text


def test_the_file_holds_no_key(keys: dict[str, str], tmp_path: Path) -> None:
    """The file holds hashes, not keys, and only its owner may read it."""
    path = tmp_path / "keys.json"
    text = path.read_text()
    assert not any(key in text or key[-64:] in text for key in keys.values())
    assert path.stat().st_mode & 0o777 == 0o600


def test_keys_differ_and_are_long() -> None:
    """A key has 256 random bits."""
    one, other = new_key("a")[0], new_key("a")[0]
    assert one != other
    assert re.fullmatch(r"kfd_[0-9a-f]{8}_[0-9a-f]{64}", one)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"make one with: \S+python\S* \S*scripts/api_keys\.py create NAME --file"),
        ("nonsense", "is not a file that"),
        ('{"keys": 7}', "is not a file that"),
        ('{"keys": [{"name": "a"}]}', "is not a file that"),
    ],
)
def test_a_wrong_file_stops_the_start(
    models_file: Callable[..., Path], tmp_path: Path, content: str | None, sentence: str
) -> None:
    """Without a readable file of keys the router does not start."""
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        create_app(Settings(models_file=models_file(colours={}), api_keys_file=path))


@pytest.mark.parametrize(
    "changed",
    [
        {"rate": "10"},
        {"rate": "0/s"},
        {"rate": "5/day"},
        {"daily_quota": 0},
        {"daily_quota": "x"},
        {"name": "a b"},
        {"id": "../../x"},
        {"sha256": ""},
    ],
)
def test_wrong_entries(tmp_path: Path, changed: dict[str, object]) -> None:
    """Each value of an entry is checked."""
    _, key = new_key("a")
    entry = {name: getattr(key, name) for name in ApiKey.__dataclass_fields__} | changed
    save_keys(tmp_path / "keys.json", [ApiKey(**entry)])
    with pytest.raises(ConfigError, match=r"keys\.json"):
        load_keys(tmp_path / "keys.json")


def test_a_ring_knows_its_keys(tmp_path: Path) -> None:
    """A ring finds exactly the keys of its file."""
    texts = write_keys(tmp_path / "keys.json", a={}, b={})
    ring = KeyRing(tmp_path / "keys.json")
    assert [found.name for text in texts.values() if (found := ring.find(text))] == ["a", "b"]
    assert ring.find("") is None


def test_the_announcement_is_plain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The start-up line says whether the API is open, as a warning where others can reach it, and shows no password."""
    caplog.set_level(logging.INFO)
    keys, url = tmp_path / "keys.json", "redis://user:secret@cache:6380/0"
    access.announce(Settings(models_file=tmp_path))
    access.announce(Settings(models_file=tmp_path, host="0.0.0.0"))
    access.announce(Settings(models_file=tmp_path, api_keys_file=keys, redis_url=url))
    local, public, closed = caplog.records
    assert "open to anyone" in local.getMessage()
    assert (local.levelname, public.levelname) == ("INFO", "WARNING")
    assert f"only with an API key of {keys}" in closed.getMessage()
    assert "cache:6380" in closed.getMessage()
    assert "secret" not in closed.getMessage()


def test_the_description_asks_for_a_key(
    guarded: FlaskClient, client_of: Callable[..., FlaskClient]
) -> None:
    """Where keys are in use `/openapi.json` says how to send one, and which routes need none; else it asks for none."""
    document = guarded.get("/openapi.json").get_json()
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert document["components"]["securitySchemes"]["header"]["name"] == "X-API-Key"
    assert "security" not in document["paths"][PATH]["post"]
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert client_of().get("/openapi.json").get_json()["security"] == []


def test_no_model_hides_behind_an_open_path(client: FlaskClient) -> None:
    """Every route that is not a model's begins with a name that no model may have, open ones included."""
    rules = [rule.rule for rule in client.application.url_map.iter_rules()]
    own = {rule.split("/")[1] for rule in rules if not rule.startswith("/colours/")}
    assert own - {""} == set(RESERVED_NAMES)
    assert {part for part in own if access.is_open(f"/{part}")} == own - {"metrics", "models"}
