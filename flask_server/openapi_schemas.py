"""What OpenAPI operations are made of: schemas, headers, parameters, bodies, failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_server.errors import ClientGone, RouterError
from flask_server.parameters import LONGEST_LABEL, MOST_INTEGER, TIMEOUT_HEADER
from flask_server.problems import CONTENT_TYPE, document

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

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
_FILE: Json = {"type": "string", "format": "binary", "description": "An image file."}

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
    "Link": {
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "description": "Where the router fetches the picture."}
        },
    },
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
    "Taught": {
        "type": "object",
        "required": ["support_version", "labels"],
        "properties": {
            "support_version": {"type": "integer", "description": "Grows with each change."},
            "labels": {
                "type": "object",
                "description": "How many pictures each label was taught with.",
                "additionalProperties": {"type": "integer"},
            },
        },
    },
    "Greeting": {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}},
    },
    "Life": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": "alive"}},
    },
    "Readiness": {
        "type": "object",
        "required": ["status", "configuration", "models"],
        "properties": {
            "status": {"type": ["string", "integer"]},
            "configuration": {
                "type": ["string", "null"],
                "description": "Digest of the models file and the placement file; null while workers still read them.",
            },
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


def reference(schema: str) -> Json:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def parameter(name: str, schema: Json, description: str, *, place: str = "query") -> Json:
    """A parameter of a route, `query` or `header`."""
    return {"in": place, "name": name, "schema": schema, "description": description}


WHOLE: Json = {"type": "integer", "minimum": 1, "maximum": MOST_INTEGER}
LABEL_NAME: Json = {
    "type": "string",
    "maxLength": LONGEST_LABEL,
    "pattern": r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
}
VERSION = parameter("version", WHOLE, "Ask this version instead of the newest.")
VERSION_LABEL = parameter(
    "version_label",
    {"type": "string", "pattern": r"^[^\x00-\x1f/:\x7f]{1,200}$"},
    "Ask the version with this label; not with `version`.",
)
TIMEOUT = parameter(
    TIMEOUT_HEADER,
    {"type": "string", "pattern": _SECONDS, "examples": ["2.5"]},
    "Answer within so many seconds, or fail with 504.",
    place="header",
)


def documented_failures() -> Json:
    """A response for each status of the error tree, and one for any other failure."""
    titles: dict[int, list[str]] = {}
    for kind in _family(RouterError):
        if kind is not ClientGone:  # nobody is left to receive it
            titles.setdefault(kind.status, []).append(kind.title)
    known = {str(status): problem_answer(status, titles[status]) for status in sorted(titles)}
    return known | ANY_FAILURE


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


ANY_FAILURE: Json = {"default": problem_answer("default", [])}


def request_body(*, most: int, fetching: bool, label: Json | None = None) -> Json:
    """Every way in which pictures may be sent.

    Args:
        most: How many pictures one request may hold.
        fetching: Whether their URLs may be sent instead.
        label: The schema of a name that must come with them.
    """
    beside = {} if label is None else {"label": label}
    one = _object(b64=ENCODED_IMAGE, **beside)
    item = {"anyOf": [reference("Image"), reference("Link")]} if fetching else reference("Image")
    instances: Json = {"type": "array", "minItems": 1, "items": item}
    instances["description"] = f"At most {most} pictures; more are refused with 413."
    link = [_object(url={"type": "string"}, **beside)] if fetching else []
    examples = _examples(dict.fromkeys(beside, "seven"))
    content = {
        "application/json": {
            "schema": {"anyOf": [one, *link, _object(instances=instances, **beside)]},
            "examples": examples,
        },
        "application/x-www-form-urlencoded": {"schema": one, "example": examples["one"]["value"]},
        "multipart/form-data": {"schema": _object(image=_FILE, **beside)},
    }
    raw: Json = {} if beside else {kind: {} for kind in _IMAGE_TYPES}
    return {"required": not fetching, "content": content | raw}


def _object(**members: Json) -> Json:
    """A JSON object that must have these members."""
    return {"type": "object", "required": list(members), "properties": members}


def _examples(beside: Json) -> Json:
    image = {"b64": EXAMPLE_B64}
    return {
        "one": {"value": image | beside},
        "several": {"value": {"instances": [image, image]} | beside},
    }
