"""The parts of the OpenAPI document that are the same for every model: schemas, headers, parameters, failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_server.errors import ClientGone, RouterError
from flask_server.parameters import TIMEOUT_HEADER
from flask_server.problems import CONTENT_TYPE, document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Json = dict[str, Any]

_MOST_INTEGER = 2**63 - 1
_SECONDS = (
    r"^([1-9]\d{0,5}(\.\d{1,6})?|0\.\d{0,5}[1-9])$"  # what the router takes, without leading zeros
)

# JSON Schema 2020-12, the dialect of OpenAPI 3.1
ENCODED_IMAGE: Json = {
    "type": "string",
    "minLength": 1,
    "format": "base64-image",
    "contentEncoding": "base64",
    "contentMediaType": "image/*",
    "description": "An image file in base64; a `data:` URL, the URL-safe alphabet and white space are fine.",
}
_STATE: Json = {
    "type": "string",
    "description": "`AVAILABLE` when it can be asked.",
    "examples": ["AVAILABLE"],
}

# A handwritten zero of 8 x 8 pixels, so that every example can be tried as it stands.
EXAMPLE_B64 = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAARUlEQVR42gXBQRGAIAAAsB3nHxpoA2lCBCMZgQwm0AbQwCMBRnBDaWcEbdZZ"
    "LPYtj5SvIPWhE6SHRPBlMX9Y31JvcLSKH6APEesy1LcOAAAAAElFTkSuQmCC"
)
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
_MULTIPART: Json = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "format": "binary", "description": "An image file."}
    },
}

SCHEMAS: Json = {
    "Problem": {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "One sentence for a person."},
            "request_id": {
                "type": "string",
                "description": "Finds the request in the router's log.",
            },
        },
    },
    "Label": {
        "type": "array",
        "description": "Identifier (in ImageNet the WordNet id), name and score of one class.",
        "prefixItems": [{"type": "string"}, {"type": "string"}, {"type": "number"}],
        "minItems": 3,
        "maxItems": 3,
    },
    "Labels": {
        "type": "array",
        "description": "The best classes, best first, as Keras' `decode_predictions` gives them.",
        "items": {"$ref": "#/components/schemas/Label"},
    },
    "Image": {"type": "object", "required": ["b64"], "properties": {"b64": ENCODED_IMAGE}},
    "Version": {
        "type": "object",
        "required": ["version", "state"],
        "properties": {"version": {"type": "integer"}, "state": _STATE},
    },
    "ModelState": {
        "type": "object",
        "required": ["state", "versions"],
        "properties": {
            "state": _STATE,
            "versions": {"type": "array", "items": {"$ref": "#/components/schemas/Version"}},
            "problem": {
                "type": ["string", "null"],
                "description": "Why it cannot be asked, and what to do.",
            },
        },
    },
    "Model": {
        "allOf": [{"$ref": "#/components/schemas/ModelState"}],
        "type": "object",
        "required": ["name", "route"],
        "properties": {
            "name": {"type": "string"},
            "route": {"type": "string", "description": "Where to POST images."},
            "labels": {"type": "integer", "description": "How many classes have a name."},
            "input_size": {
                "type": ["array", "null"],
                "items": {"type": "integer"},
                "description": "Height, width.",
            },
            "color_mode": {"enum": ["rgb", "grayscale"]},
            "upstream": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Its model servers.",
            },
        },
    },
    "Readiness": {
        "type": "object",
        "required": ["status", "models"],
        "properties": {
            "status": {"type": ["string", "integer"]},
            "models": {
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/ModelState"},
            },
        },
    },
}

# Either will do; the document asks for one where the router is set up with API keys.
SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
HEADERS: Json = {
    "Request-Id": {
        "description": "As sent in `X-Request-Id`, else made here.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "Milliseconds spent in each stage: receive, queue, decode, preprocess, upstream, total.",
        "schema": {"type": "string"},
    },
    "Model-Version": {"description": "The version that answered.", "schema": {"type": "integer"}},
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer"},
    },
}
EVERY_ANSWER: Json = {
    "X-Request-Id": {"$ref": "#/components/headers/Request-Id"},
    "Server-Timing": {"$ref": "#/components/headers/Server-Timing"},
}


def predict_parameters() -> list[Json]:
    """What a predict route takes beside its images."""
    whole = {"type": "integer", "minimum": 1, "maximum": _MOST_INTEGER}
    label = {"type": "string", "pattern": r"^[^\x00-\x1f/:\x7f]{0,200}$"}
    seconds = {"type": "string", "pattern": _SECONDS, "examples": ["2.5"]}
    return [
        _parameter("query", "top", whole, "How many labels; all if the model has fewer."),
        _parameter("query", "version", whole, "Ask this version instead of the newest."),
        _parameter(
            "query", "version_label", label, "Ask the version with this label; not with `version`."
        ),
        _parameter(
            "header", TIMEOUT_HEADER, seconds, "Answer within so many seconds, or fail with 504."
        ),
    ]


def query_parameter(name: str, description: str) -> Json:
    """A parameter of any text."""
    return _parameter("query", name, {"type": "string"}, description)


def _parameter(place: str, name: str, schema: Mapping[str, Any], description: str) -> Json:
    return {"in": place, "name": name, "schema": schema, "description": description}


def failures() -> dict[int, list[type[RouterError]]]:
    """Every status that the error tree knows, with its classes; not the one that nobody is left to receive."""
    found: dict[int, list[type[RouterError]]] = {}
    for kind in _family(RouterError):
        if kind is not ClientGone:
            found.setdefault(kind.status, []).append(kind)
    return dict(sorted(found.items()))


def _family(kind: type[RouterError]) -> Iterator[type[RouterError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def answer(
    schema: Json, description: str, *, headers: Json | None = None, example: object = None
) -> Json:
    """A JSON answer as an OpenAPI response."""
    content = {"schema": schema} | ({} if example is None else {"example": example})
    return {
        "description": description,
        "headers": EVERY_ANSWER | (headers or {}),
        "content": {"application/json": content},
    }


def problem_answer(status: int | str, titles: list[str]) -> Json:
    """A failure as an OpenAPI response; with no titles, any failure."""
    retry = (
        {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
        if status in (429, 503)
        else {}
    )
    content: Json = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if isinstance(status, int):
        content["examples"] = {title: {"value": document(status, title, "…")} for title in titles}
    return {
        "description": " or ".join(titles) or "Any other failure.",
        "headers": EVERY_ANSWER | retry,
        "content": {CONTENT_TYPE: content},
    }


def request_body() -> Json:
    """Every way in which pictures may be sent."""
    image = {"$ref": "#/components/schemas/Image"}
    instances = {"type": "array", "minItems": 1, "items": image, "description": "Several pictures."}
    several = {"type": "object", "required": ["instances"], "properties": {"instances": instances}}
    one = {"b64": EXAMPLE_B64}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [image, several]},
                "examples": {
                    "one": {"value": one},
                    "several": {"value": {"instances": [one, one]}},
                },
            },
            "application/x-www-form-urlencoded": {"schema": image, "example": one},
            "multipart/form-data": {"schema": _MULTIPART},
            **{kind: {} for kind in _IMAGE_TYPES},
        },
    }
