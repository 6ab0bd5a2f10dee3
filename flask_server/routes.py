"""One predict route for each model, and the list of models."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from flask_server.bodies import images_in
from flask_server.correlation import forwarded_headers
from flask_server.errors import InvalidImage, RouterError, TooLarge, UpstreamUnavailable
from flask_server.facts import facts
from flask_server.parameters import timeout_of, top_of, version_of
from flask_server.problems import problem
from flask_server.served_versions import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask
    from numpy.typing import NDArray

    from flask_server.bodies import Batch, Encoded
    from flask_server.health import ModelState
    from flask_server.models import Model
    from flask_server.router import Router

    Prepared = NDArray[Any] | RouterError


def init_app(app: Flask, router: Router) -> None:
    """Attach one explicit rule for each model, so that `flask routes` lists them."""
    for name, model in router.models.items():
        app.add_url_rule(
            predict_route(name),
            endpoint=f"predict {name}",
            view_func=partial(predict, model, router),
            methods=["POST"],
        )
    app.add_url_rule("/models/", view_func=partial(list_models, router), endpoint="models")
    app.add_url_rule("/hello/", view_func=hello, endpoint="hello")


def predict_route(name: str) -> str:
    """The path under which a model predicts."""
    return f"/{name}/predict/"


def predict(model: Model, router: Router) -> Response:
    """Images in, labels out."""
    facts().model = model.config.name
    if model.problem is not None:
        raise UpstreamUnavailable(model.problem, retry_after_seconds=30)
    with facts().stage("receive"):
        batch = images_in(request, most=router.settings.max_instances)
    top = top_of(request, model.config.top)
    call = _call(model, top)
    images = router.fetcher.fetched(batch.images, call.deadline)
    with facts().stage("queue"):
        place = model.places.take(call.deadline, call.client)
    with place:
        model.upstream.refuse_if_down(call)
        arrays = [_prepared(encoded, model, router, call.deadline) for encoded in images]
        _refuse_if_none_is_good(arrays, batch)
        labels = _labels(model, arrays, call, top)
    return json_response(labels[0] if batch.single else labels)


def _call(model: Model, top: int) -> Call:
    wanted = timeout_of(request)
    seconds = min(wanted or model.config.timeout_seconds, model.config.timeout_seconds)
    version, version_label = version_of(request)
    connection = request.environ.get("gunicorn.socket")
    sticky = model.config.sticky_header
    return Call(
        deadline=facts().whole_at + seconds,
        top=top if model.takes_best else None,
        version=version,
        version_label=version_label,
        affinity=request.headers.get(sticky) if sticky else None,
        headers=forwarded_headers(),
        client=connection.fileno() if connection else None,
    )


def _prepared(encoded: Encoded, model: Model, router: Router, deadline: float) -> Prepared:
    """Decode and preprocess one image; what is wrong with it is its answer, not the whole request's."""
    if isinstance(encoded, RouterError):
        return encoded
    try:
        return prepared(encoded, model, router, deadline)
    except (InvalidImage, TooLarge) as error:
        return error


def prepared(encoded: bytes, model: Model, router: Router, deadline: float) -> NDArray[Any]:
    """Decode and preprocess one image, and note how large it was and how long that took.

    Raises:
        RouterError: As `ImageReader.read`.
    """
    facts().image_bytes.append(len(encoded))
    with facts().stage("decode"):
        picture = router.reader.read(
            encoded, model.config.color_mode, at_least=model.enough, deadline=deadline
        )
    facts().image_pixels.append(picture.pixels)
    with facts().stage("preprocess"):
        return model.preprocess(picture)


def _refuse_if_none_is_good(arrays: Sequence[Prepared], batch: Batch) -> None:
    errors = [array for array in arrays if isinstance(array, RouterError)]
    if len(errors) == len(arrays):
        if not batch.single:
            errors[0].members = {"errors": [problem(error) for error in errors]}
        raise errors[0]


def _labels(model: Model, arrays: Sequence[Prepared], call: Call, top: int) -> list[Any]:
    """Ask for the good ones; put each one's labels, or its problem, in its place."""
    good = [array for array in arrays if not isinstance(array, RouterError)]
    with facts().stage("upstream"):
        rows, facts().version = model.predict(good, call)
    decoded = iter([model.decode(row, top) for row in rows])
    return [problem(one) if isinstance(one, RouterError) else next(decoded) for one in arrays]


def list_models(router: Router) -> Response:
    """Every model: where to post, what it takes, how it stands."""
    states = router.health.states()
    return json_response([_described(m, states[name]) for name, m in router.models.items()])


def _described(model: Model, state: ModelState) -> dict[str, Any]:
    config = model.config
    return {
        "name": config.name,
        "route": predict_route(config.name),
        "labels": len(config.labels),
        "input_size": config.input_size,
        "color_mode": config.color_mode,
        "upstream": config.upstream,
        "state": state.state,
        "versions": [{"version": v, "state": s} for v, s in state.versions.items()],
        "problem": state.problem,
    }


def hello() -> Response:
    """A sign of life for a person with a browser."""
    return json_response({"message": "Hello! GET /models/ lists the models."})


def json_response(value: object) -> Response:
    """Strict JSON: what is not a finite number becomes null."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), content_type="application/json"
    )
