"""What each route takes and answers, as OpenAPI operations: the fixed routes, and those that every model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_server.openapi_schemas import (
    ANY_FAILURE,
    LABEL_NAME,
    TIMEOUT,
    VERSION,
    VERSION_LABEL,
    WHOLE,
    answer,
    documented_failures,
    parameter,
    problem_answer,
    reference,
    request_body,
)

if TYPE_CHECKING:
    from flask_server.models import Model
    from flask_server.openapi_schemas import Json
    from flask_server.router import Router

_EXAMPLE_SCORES = (0.87, 0.08, 0.03, 0.015, 0.005)
_WHATEVER: Json = {"description": "Whatever the model's own decode function makes."}
_MODELS = {"type": "array", "items": reference("Model")}

_FIXED: dict[str, Json] = {
    "hello": {"responses": {"200": answer(reference("Greeting"), "A greeting."), **ANY_FAILURE}},
    "models": {"responses": {"200": answer(_MODELS, "The models."), **ANY_FAILURE}},
    "livez": {
        "summary": "Whether the router lives.",
        "responses": {"200": answer(reference("Life"), "It does."), **ANY_FAILURE},
    },
    "readyz": {
        "summary": "Whether the router, or one model, can answer predictions.",
        "parameters": [parameter("model", {"type": "string"}, "Ask for this model only.")],
        "responses": {
            "200": answer(reference("Readiness"), "It can."),
            "404": problem_answer(404, ["Unknown model"]),
            "503": problem_answer(503, ["Not ready", "Draining"]),
            **ANY_FAILURE,
        },
    },
}


_IMAGE_URL = parameter(
    "image_url", {"type": "string"}, "Fetch the picture there instead of reading it from the body."
)


def known(endpoint: str, router: Router) -> Json:
    """What is known of a route beyond what can be said of any, by its endpoint (`models`, `predict digits`)."""
    verb, _, name = endpoint.partition(" ")
    if not name:
        return _FIXED.get(endpoint, {})
    describe = {"predict": _predict, "teach": _teach, "taught": _taught, "forget": _forget}.get(
        verb
    )
    return describe(router.models[name], router) if describe else {}


def _predict(model: Model, router: Router) -> Json:
    return {
        "tags": ["predict"],
        "summary": f"Ask {model.config.name} what pictures show.",
        "description": _description(model),
        "parameters": _predict_parameters(model, fetching=_fetches(router)),
        "requestBody": request_body(most=router.settings.max_instances, fetching=_fetches(router)),
        "responses": {"200": _labels(model), **documented_failures()},
    }


def _description(model: Model) -> str:
    config = model.config
    height, width = config.input_size or ("?", "?")
    return (
        f"Send any picture: the router scales it to the {width} x {height} pixels ({config.color_mode}) that the model"
        f" was trained with. The best {min(config.top, len(config.labels)) or config.top} of its labels are answered,"
        " or as many as `top` says."
    )


def _fetches(router: Router) -> bool:
    """Whether pictures may be sent by URL."""
    return bool(router.settings.fetch_hosts)


def _predict_parameters(model: Model, *, fetching: bool) -> list[Json]:
    sticky = model.config.sticky_header
    affinity = "Who sends the same value is answered by the same version."
    return [
        parameter("top", WHOLE, "How many labels; all if the model has fewer."),
        VERSION,
        VERSION_LABEL,
        TIMEOUT,
        *([_IMAGE_URL] if fetching else []),
        *([parameter(sticky, {"type": "string"}, affinity, place="header")] if sticky else []),
    ]


def _labels(model: Model) -> Json:
    """The answer to one picture, or to several: in the place of a bad one stands its problem."""
    own = model.config.own_decode
    one = _WHATEVER if own else reference("Labels")
    item = {"anyOf": [one, reference("Problem")]}
    several = {"type": "array", "items": item, "description": "One for each of the `instances`."}
    return answer(
        {"anyOf": [one, several]},
        "The labels of the picture, or of each picture.",
        headers={"X-Model-Version": {"$ref": "#/components/headers/Model-Version"}},
        example=None if own else _example(model),
    )


def _example(model: Model) -> list[list[str | float]]:
    """An answer with labels that the model has."""
    best = zip(model.config.labels, _EXAMPLE_SCORES[: model.config.top], strict=False)
    return [[label.id, label.name, score] for label, score in best]


def _teach(model: Model, router: Router) -> Json:
    return {
        "tags": ["teach"],
        "summary": f"Teach {model.config.name} a label with pictures that show it.",
        "requestBody": request_body(
            most=router.settings.max_instances, fetching=_fetches(router), label=LABEL_NAME
        ),
        "responses": {
            "200": answer(reference("Taught"), "What it knows now."),
            **documented_failures(),
        },
    }


def _taught(model: Model, _: Router) -> Json:
    return {
        "tags": ["teach"],
        "summary": f"Which labels {model.config.name} was taught, and with how many pictures.",
        "responses": {
            "200": answer(reference("Taught"), "What it knows."),
            **documented_failures(),
        },
    }


def _forget(model: Model, _: Router) -> Json:
    return {
        "tags": ["teach"],
        "summary": f"Let {model.config.name} forget one label, or all.",
        "parameters": [parameter("label", LABEL_NAME, "The label to forget; without it, all.")],
        "responses": {
            "200": answer(reference("Taught"), "What it knows now."),
            **documented_failures(),
        },
    }
