"""Whether the router lives, and whether it can answer: `/livez`, `/readyz`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from flask_server.errors import Draining, NotReady, UnknownModel, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask import Flask

    from flask_server.models import Model
    from flask_server.router import Router

_KEEP_SECONDS = 1.0
_PARALLEL = 8
_AGREE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class ModelState:
    """How a model stands: AVAILABLE, or another state of TensorFlow Serving's.

    Without a server that tells, PREPARING: the supervisor is making its first version; UNAVAILABLE: it has no server;
    UNREACHABLE: its server does not answer.
    """

    state: str
    versions: Mapping[int, str]
    problem: str | None = None


class Health:
    """Asks the model servers how they are, at most once a second however often it is asked itself."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, ModelState]] = {}
        self.draining = threading.Event()
        self.all_answer_by: Callable[[str], bool] = lambda _: True
        """Whether this configuration is that of every worker; where there are others, this asks them."""

    def is_that_of_all(self, configuration: str) -> bool:
        """Whether all workers answer by this configuration; those that are just reading it are waited for, a moment.

        So whoever has been told that a model is available does not meet a worker next that does not know it yet.
        """
        deadline = time.monotonic() + _AGREE_SECONDS
        while not self.all_answer_by(configuration):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def states(self, names: Iterable[str] | None = None) -> dict[str, ModelState]:
        """The state of each of these models (default: all)."""
        wanted = list(self._models if names is None else names)
        with self._lock:
            old = time.monotonic() - _KEEP_SECONDS
            stale = [name for name in wanted if self._known.get(name, (0.0,))[0] < old]
            if stale:
                self._look(stale)
            return {name: self._known[name][1] for name in wanted}

    def _look(self, names: list[str]) -> None:
        with ThreadPoolExecutor(min(_PARALLEL, len(names))) as pool:
            found = pool.map(_state, [self._models[name] for name in names])
        now = time.monotonic()
        self._known.update({n: (now, state) for n, state in zip(names, found, strict=True)})


def _state(model: Model) -> ModelState:
    if model.problem is not None:
        return ModelState("PREPARING" if model.being_made else "UNAVAILABLE", {}, model.problem)
    try:
        versions = model.upstream.states()
    except UpstreamError as error:
        return ModelState("UNREACHABLE", {}, str(error))
    if "AVAILABLE" in versions.values():
        return ModelState("AVAILABLE", versions)
    return ModelState(next(iter(versions.values()), "START"), versions)


def init_app(app: Flask, router: Router) -> None:
    """Attach the two routes.

    Neither needs an API key. So where keys are in use, they keep what is wrong inside to themselves: `/models/` tells it.
    """
    talkative = router.settings.api_keys_file is None
    health = router.health

    def livez() -> dict[str, str]:
        return {"status": "alive"}

    def readyz() -> Response:
        name = request.args.get("model")
        if name is not None and name not in router.models:
            raise UnknownModel(f"There is no model '{name[:100]}'.")
        agreed = health.is_that_of_all(router.configuration)
        states = health.states(None if name is None else [name])
        if not talkative:
            states = {name: replace(state, problem=None) for name, state in states.items()}
        members = {
            "configuration": router.configuration if agreed else None,
            "models": {name: _told(state) for name, state in states.items()},
        }
        if health.draining.is_set():
            raise Draining("The router is stopping.", members=members)
        if detail := _not_ready(states) if name is None else _not_available(name, states[name]):
            raise NotReady(detail, members=members)
        return Response(
            orjson.dumps({"status": "ready", **members}), content_type="application/json"
        )

    app.add_url_rule("/livez", view_func=livez)
    app.add_url_rule("/readyz", view_func=readyz)


def _not_ready(states: Mapping[str, ModelState]) -> str | None:
    """Why a load balancer should not ask for any of these models yet; None: it may."""
    for name, state in states.items():
        if state.state == "PREPARING":
            return f"The start is not over: the version of '{name}' is being made."
    available = any(state.state == "AVAILABLE" for state in states.values())
    return None if available else "No model is available now."


def _not_available(name: str, state: ModelState) -> str | None:
    if state.state == "AVAILABLE":
        return None
    return state.problem or f"'{name}' is not available now."


def _told(state: ModelState) -> dict[str, Any]:
    versions = [{"version": number, "state": name} for number, name in state.versions.items()]
    told: dict[str, Any] = {"state": state.state, "versions": versions}
    return told if state.problem is None else told | {"problem": state.problem}
