"""Teach a few-shot model while it is served: `POST`, `GET` and `DELETE /<model>/support/` (docs/few-shot.md)."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from flask import request

from flask_server.bodies import images_in, parsed
from flask_server.errors import InvalidImage, InvalidRequest, RouterError
from flask_server.facts import facts
from flask_server.parameters import LONGEST_LABEL
from flask_server.routes import json_response, prepared
from flask_server.taught import picture_text

if TYPE_CHECKING:
    from flask import Flask, Response

    from flask_server.bodies import Encoded
    from flask_server.models import Model
    from flask_server.router import Router


def init_app(app: Flask, router: Router) -> None:
    """Attach the three verbs for each model whose table says `support_set = true`."""
    for name, model in router.models.items():
        if model.config.support_set:
            for verb, view in (("POST", teach), ("GET", taught), ("DELETE", forget)):
                app.add_url_rule(
                    f"/{name}/support/",
                    endpoint=f"{view.__name__} {name}",
                    view_func=partial(view, model, router),
                    methods=[verb],
                )


def teach(model: Model, router: Router) -> Response:
    """Name pictures: all of them, or none if one cannot be read."""
    facts().model = model.config.name
    # The pictures first: that reads the body, for the label too.
    with facts().stage("receive"):
        batch = images_in(request, most=router.settings.max_instances)
    label = _label(_said_label(router.settings.max_instances))
    deadline = facts().whole_at + model.config.timeout_seconds
    images = router.fetcher.fetched(batch.images, deadline)
    texts = [_picture(one, number, model, router, deadline) for number, one in enumerate(images)]
    router.support.add(model.config.name, label, texts, most=router.settings.max_support_pictures)
    return taught(model, router)


def taught(model: Model, router: Router) -> Response:
    """The labels that the model has been taught, and from how many pictures each."""
    version, counts = router.support.counts(model.config.name)
    return json_response({"support_version": version, "labels": counts})


def forget(model: Model, router: Router) -> Response:
    """Forget all labels, or the one of `?label=`."""
    label = request.args.get("label")
    router.support.delete(model.config.name, None if label is None else _label(label))
    return taught(model, router)


def _said_label(most: int) -> str:
    """The label beside the pictures: `?label=`, a form field, or a member of the JSON."""
    said = request.args.get("label") or request.form.get("label")
    if said is None and (request.is_json or request.get_data()[:1] == b"{"):  # as `images_in`
        document = parsed(request.get_data(), most)
        said = document.get("label") if isinstance(document, dict) else None
    if not isinstance(said, str):
        raise InvalidRequest('Say which label the pictures show: {"label": "…", "instances": […]}.')
    return said


def _label(text: str) -> str:
    label = text.strip()
    if not label or len(label) > LONGEST_LABEL or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", label):
        raise InvalidRequest(f"A label is 1 to {LONGEST_LABEL} characters without control codes.")
    return label


def _picture(encoded: Encoded, number: int, model: Model, router: Router, deadline: float) -> str:
    """What the model server is shown of a picture, as text."""
    try:
        if isinstance(encoded, RouterError):
            raise encoded
        return picture_text(prepared(encoded, model, router, deadline))
    except InvalidImage as error:
        raise InvalidImage(f"Picture {number + 1}: {error}") from None
