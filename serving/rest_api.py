"""The verbs of the REST API: predict, classify, regress, status, metadata.

Each takes what `paths` parsed and gives the bytes of an answer, or raises a ServingError. The
order of the checks is part of the API: which of two mistakes is told first was recorded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from serving.classify_regress import classify, regress
from serving.errors import InvalidArgument
from serving.examples import examples_of
from serving.json_echo import echo
from serving.json_reader import read
from serving.json_values import NeedsExactValues
from serving.json_writer import classify_response, predict_response, regress_response
from serving.paths import Inference, Metadata, Status
from serving.servable import (
    DEFAULT_SIGNATURE,
    check_input_names,
    check_predict_method,
    signature_of,
)
from serving.tensor_json import tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.json_values import JsonObject
    from serving.lifecycle import VersionStatus
    from serving.manager import Manager
    from serving.monitoring import Metrics, Seen
    from serving.paths import Target

Result = TypeVar("Result")


@dataclass(frozen=True)
class RestApi:
    """The REST API over the models of a manager.

    Attributes:
        manager: hands out the models.
        timeout_seconds: how long one run may take; None is for ever.
        metrics: told of each request.
        check_method_names: whether a verb looks at a signature's method name.
    """

    manager: Manager
    timeout_seconds: float | None
    metrics: Metrics
    check_method_names: bool = False

    def answer(self, asked: Inference | Status | Metadata, body: Callable[[], bytes]) -> bytes:
        """Do what is asked.

        Args:
            asked: from `paths.parse`.
            body: gives the request's body; called only where one is needed.

        Raises:
            ServingError: it cannot be done.
        """
        api = asked.verb if isinstance(asked, Inference) else ""
        with self.metrics.measuring(asked.target.model, api, "REST") as seen:
            match asked:
                case Status(target):
                    return self.status(target)
                case Metadata(target):
                    return self.metadata(target)
                case Inference(target, verb):
                    verbs = {
                        "predict": self.predict,
                        "classify": self.classify,
                        "regress": self.regress,
                    }
                    return verbs[verb](target, body(), seen)

    def predict(self, target: Target, body: bytes, seen: Seen) -> bytes:
        """Run any signature on rows (`instances`) or columns (`inputs`)."""
        try:
            return self._predict(target, read(body), seen)
        except NeedsExactValues:  # there is a mistake to be told, number by number
            return self._predict(target, read(body, in_bulk=False), seen)

    def _predict(self, target: Target, document: JsonObject, seen: Seen) -> bytes:
        name = _signature_name(document)
        with self.manager.use(target) as used:
            servable = seen.using(used)
            signature = signature_of(servable, name)
            if not signature.inputs:
                raise InvalidArgument(f"Failed to get input map for signature: {name}")
            layout, inputs = tensors_of(document, signature.inputs)
            if self.check_method_names:
                check_predict_method(signature)
            check_input_names(signature, inputs)
            outputs = servable.run(name, inputs, self.timeout_seconds)
        return predict_response(outputs, layout)

    def classify(self, target: Target, body: bytes, seen: Seen) -> bytes:
        """Run a signature over examples; labels with scores for each."""
        labels, scores = self._on_examples(classify, target, body, seen)
        return classify_response(labels, scores)

    def regress(self, target: Target, body: bytes, seen: Seen) -> bytes:
        """Run a signature over examples; one number for each."""
        return regress_response(self._on_examples(regress, target, body, seen))

    def _on_examples(
        self, run: Callable[..., Result], target: Target, body: bytes, seen: Seen
    ) -> Result:
        document = read(body, in_bulk=False)
        name = _signature_name(document)
        examples = examples_of(document)
        with self.manager.use(target) as used:
            return run(
                seen.using(used),
                name,
                examples,
                self.timeout_seconds,
                check_method_name=self.check_method_names,
            )

    def status(self, target: Target) -> bytes:
        """The states of a model's versions; a version label is ignored, as the real server does."""
        if not target.model:
            raise InvalidArgument("Missing model name in request.")
        versions = self.manager.statuses(target.model, target.version)
        return _protobuf_json({"model_version_status": [_status_json(v) for v in versions]})

    def metadata(self, target: Target) -> bytes:
        """The signatures of a version."""
        if not target.model:
            raise InvalidArgument("Missing model name in request.")
        with self.manager.use(target) as used:
            spec = {"name": target.model, "signature_name": "", "version": str(used.version)}
            signatures = used.servable.metadata()
        return _protobuf_json(
            {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}
        )


def _signature_name(document: JsonObject) -> str:
    """What the request asks for; an empty name is the default one, too."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgument(
            f"JSON Value: {echo(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name or DEFAULT_SIGNATURE


def _status_json(version: VersionStatus) -> dict[str, Any]:
    return {
        "version": str(version.version),
        "state": version.state.name,
        "status": {"error_code": version.code.name, "error_message": version.message},
    }


def _protobuf_json(message: dict[str, Any]) -> bytes:
    return (json.dumps(message, indent=1, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogateescape"
    )
