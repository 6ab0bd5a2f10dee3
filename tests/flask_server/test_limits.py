"""Rates and quotas: exact under concurrency, on one machine and with a real Redis."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_server.ledger import FileLedger, Limit, spending
from flask_server.limits import ledger_of
from flask_server.redis_ledger import RedisLedger
from flask_server.settings import Settings
from model_config import ConfigError
from tests.flask_server.conftest import encoded
from tests.flask_server.test_access import write_keys
from tests.flask_server.test_failures import check_problem
from tests.processes import ROOT, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))
DAY = 86400
DAILY = Limit("daily", 50, DAY)


@pytest.fixture(params=["files", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the counts are: a folder, or the address of a Redis server."""
    return str(tmp_path) if request.param == "files" else request.getfixturevalue("redis_url")


@pytest.fixture
def key_id(tmp_path: Path) -> str:
    """An id that no other test counts for."""
    return f"{abs(hash(str(tmp_path))):x}"


def ledger_at(place: str) -> FileLedger | RedisLedger:
    """The ledger at a place."""
    return RedisLedger(place) if place.startswith("redis:") else FileLedger(Path(place))


def test_a_limit_is_held(place: str, key_id: str) -> None:
    """As many requests as the limit says are allowed, and no more."""
    ledger = ledger_at(place)
    spent = [ledger.spend(key_id, [DAILY]) for _ in range(53)]
    assert [one.allowed for one in spent] == [True] * 50 + [False] * 3
    assert [one.standings[0].left for one in spent[:2] + spent[49:]] == [49, 48, 0, 0, 0, 0]
    assert 0 < spent[0].standings[0].reset_seconds <= DAY


def test_a_refused_request_is_not_counted(place: str, key_id: str) -> None:
    """What one limit refuses is not taken from the other."""
    ledger, none = ledger_at(place), Limit("rate", 0, 3600)
    assert not ledger.spend(key_id, [none, DAILY]).allowed
    assert ledger.spend(key_id, [DAILY]).standings[0].left == 49


def test_a_window_ends(place: str, key_id: str) -> None:
    """In the next second there is room again."""
    ledger, rate = ledger_at(place), Limit("rate", 1, 1)
    ledger.spend(key_id, [rate])
    wait_until(
        lambda: ledger.spend(key_id, [rate]).allowed, seconds=5, what="the next second has room"
    )


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes back over midnight does not give the day's quota again."""
    ledger, daily = FileLedger(tmp_path), [Limit("daily", 2, DAY)]

    def allowed(now: float) -> list[bool]:
        monkeypatch.setattr("flask_server.ledger.time.time", lambda: now)
        return [ledger.spend("a", daily).allowed for _ in range(3)]

    midnight = 20_000 * DAY
    assert allowed(midnight - 9) == [True, True, False]
    assert allowed(midnight + 0.2) == [True, True, False]
    assert allowed(midnight - 0.3) == [False] * 3
    assert allowed(midnight + 9) == [False] * 3
    assert allowed(midnight + DAY) == [True, True, False]


def test_keys_do_not_share(place: str, key_id: str) -> None:
    """What one key uses is not taken from another."""
    ledger, one = ledger_at(place), [Limit("daily", 1, DAY)]
    assert ledger.spend(key_id, one).allowed
    assert ledger.spend(key_id[:-1], one).allowed


SPENDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from flask_server.ledger import Limit
from tests.flask_server.test_limits import ledger_at
place, key_id, most = sys.argv[1:]
ledger, limits = ledger_at(place), [Limit("daily", int(most), 86400)]
sys.stdin.read(1)
with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(lambda _: ledger.spend(key_id, limits).allowed, range(100))))
"""


@pytest.mark.slow
def test_processes_share_exactly(place: str, key_id: str) -> None:
    """Four processes with eight threads each are allowed exactly the limit together."""
    command = [sys.executable, "-c", SPENDER, place, key_id, "150"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    told = [process.communicate("x", timeout=60)[0] for process in running]
    assert sum(map(int, told)) == 150


def test_a_new_ledger_knows_the_counts(place: str, key_id: str) -> None:
    """Counts survive a restart of the router."""
    for _ in range(50):
        ledger_at(place).spend(key_id, [DAILY])
    assert not ledger_at(place).spend(key_id, [DAILY]).allowed


def test_spending_is_pure() -> None:
    """What a request spends follows from the counts before it."""
    rate, daily = Limit("rate", 2, 60), Limit("daily", 9, DAY)
    fine = spending([rate, daily], [1, 3], now=DAY + 61)
    assert fine.allowed
    assert [(one.left, one.reset_seconds) for one in fine.standings] == [(0, 59), (5, DAY - 61)]
    full = spending([rate, daily], [2, 3], now=DAY + 61)
    assert not full.allowed
    assert [one.left for one in full.standings] == [0, 6]


@pytest.mark.parametrize("record", [b'{"86400": [1', b"5", b"null", b"[1]", b'{"86400": 5}'])
def test_a_damaged_record_starts_again(tmp_path: Path, record: bytes) -> None:
    """A record that a power cut or a person damaged makes no failure."""
    (tmp_path / "a.json").write_bytes(record)
    assert FileLedger(tmp_path).spend("a", [DAILY]).standings[0].left == 49


@pytest.fixture
def limited(client_of: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """A client whose key may make three requests a day, 1000 an hour."""
    keys = write_keys(tmp_path / "keys.json", web={"daily_quota": 3, "rate": "1000/h"})
    client = client_of(api_keys_file=tmp_path / "keys.json", state_dir=tmp_path / "state")
    client.environ_base["HTTP_X_API_KEY"] = keys["web"]
    return client


def test_headers(limited: FlaskClient) -> None:
    """Every answer of a model tells policy and standing; routes that cost nothing tell nothing."""
    headers = limited.post(PATH, data=RED).headers
    assert headers["RateLimit-Policy"] == '"rate";q=1000;w=3600, "daily";q=3;w=86400'
    rate, daily = headers["RateLimit"].split(", ")
    assert rate.startswith('"rate";r=999;t=')
    assert daily.startswith('"daily";r=2;t=')
    assert 0 < int(daily.rpartition("=")[2]) <= DAY
    assert "RateLimit" not in limited.get("/models/").headers


def test_over_the_quota(limited: FlaskClient) -> None:
    """Over the quota the answer is 429, and Retry-After is when the quota begins anew."""
    statuses = [limited.post(PATH, data=RED).status_code for _ in range(3)]
    response = limited.post(PATH, data=RED)
    assert statuses == [200] * 3
    check_problem(response, 429, "Too many requests")
    assert response.get_json(force=True)["violated-policies"] == ["daily"]
    until_midnight = DAY - int(time.time()) % DAY
    assert abs(int(response.headers["Retry-After"]) - until_midnight) < 60
    assert '"daily";r=0;' in response.headers["RateLimit"]


def test_what_costs_nothing(limited: FlaskClient) -> None:
    """Preflights, other methods and refused keys are not counted."""
    limited.options(PATH)
    limited.get(PATH)
    limited.post(PATH, data=RED, headers={"X-API-Key": "no"})
    assert '"daily";r=2;' in limited.post(PATH, data=RED).headers["RateLimit"]


def test_counts_that_cannot_be_reached(
    client_of: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """Without Redis what has a limit is refused with 503 in time, and what has none goes on."""
    keys = write_keys(tmp_path / "keys.json", web={"daily_quota": 3}, free={})
    url = f"redis://127.0.0.1:{free_port()}/0"
    client = client_of(api_keys_file=tmp_path / "keys.json", redis_url=url)
    begun = time.monotonic()
    response = client.post(PATH, data=RED, headers={"X-API-Key": keys["web"]})
    assert time.monotonic() - begun < 5
    check_problem(response, 503, "Limits unavailable")
    assert response.headers["Retry-After"] == "1"
    assert client.post(PATH, data=RED, headers={"X-API-Key": keys["free"]}).status_code == 200


def test_a_folder_that_goes_away(limited: FlaskClient, tmp_path: Path) -> None:
    """Counts that cannot be written are a 503, not a way around the quota."""
    shutil.rmtree(tmp_path / "state")
    check_problem(limited.post(PATH, data=RED), 503, "Limits unavailable")


def test_wrong_places(tmp_path: Path) -> None:
    """A folder that cannot be made and an address that is none stop the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="STATE_DIR"):
        ledger_of(Settings(models_file=tmp_path, state_dir=tmp_path / "file"))
    for url in ("http://x", "redis://localhost:abc/0", "redis://[::1/0"):
        with pytest.raises(ConfigError, match="REDIS_URL"):
            ledger_of(Settings(models_file=tmp_path, redis_url=url))


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package the sentence says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match="-m pip install redis"):
        ledger_of(Settings(models_file=tmp_path, redis_url="redis://localhost"))


def test_counting_is_cheap(tmp_path: Path) -> None:
    """Counting in files costs a small part of a request, whoever else works on this machine."""
    ledger = FileLedger(tmp_path)
    begun = time.process_time()
    for _ in range(500):
        ledger.spend("a", [DAILY])
    assert (time.process_time() - begun) / 500 < 0.001
