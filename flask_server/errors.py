"""What can go wrong in the router, drawn as a tree; the HTTP status of each stands on its class.

RouterError                     500
├── InvalidRequest              400   a parameter, header or body that says nothing usable
│   ├── InvalidImage            400   not base64, not an image, truncated, unsupported
│   └── UnusableUrl             400   no URL, or one that does not lead to an image in time
├── AccessDenied                403   the API key is not for this
│   └── KeyRequired             401   no API key, or none that is known
├── FetchRefused                403   images are not fetched from there
├── UnknownModel                404   no such model (`/readyz?model=`)
├── UnknownVersion              404   no such version or version label
├── UnknownLabel                404   a few-shot model was never taught it
├── RequestTimeout              408   the request did not arrive in time
├── NothingTaught               409   a few-shot model knows no label yet
├── TooLarge                    413   body, pixels, instances
├── NotReady                    503   no model is available (`/readyz`); Retry-After
│   └── Draining                503   the router is stopping (`/readyz`); Retry-After
├── TooBusy                     503   as many requests as allowed wait for the model, or for images by URL; Retry-After
├── TooManyRequests             429   over the key's rate or quota; Retry-After
├── LimitsUnavailable           503   rates and quotas cannot be checked; Retry-After
├── SupportUnavailable          503   what a few-shot model was taught cannot be reached; Retry-After
├── ClientGone                  499   nobody is left to be answered (nginx' number)
├── DeadlinePassed              504   the images were not decoded in time
└── UpstreamError               502   answered, but not with predictions
    ├── UpstreamUnavailable     503   refused, or no version available; Retry-After
    └── UpstreamTimeout         504
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class RouterError(Exception):
    """A request that cannot be answered; the message is one sentence for the person who sent it."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retry_after_seconds: int | None = None

    def __init__(
        self,
        detail: str,
        *,
        retry_after_seconds: int | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.members = dict(members or {})
        """What the problem document tells beside its four members."""
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class InvalidRequest(RouterError):
    """A parameter, header or body is not what the route takes."""

    status = 400
    title = "Invalid request"


class InvalidImage(InvalidRequest):
    """What was sent as an image is none that can be read."""

    title = "Invalid image"


class AccessDenied(RouterError):
    """The API key is known, but not for this."""

    status = 403
    title = "Access denied"


class KeyRequired(AccessDenied):
    """The request came without an API key, or with one that is not known."""

    status = 401
    title = "Key required"


class UnusableUrl(InvalidRequest):
    """What was sent as an image's URL is none, or does not lead to an image in time."""

    title = "Unusable URL"


class FetchRefused(RouterError):
    """Images are not fetched from this URL, whatever it leads to."""

    status = 403
    title = "Fetch refused"


class UnknownModel(RouterError):
    """There is no model of this name."""

    status = 404
    title = "Unknown model"


class UnknownVersion(RouterError):
    """The model has no such version or version label."""

    status = 404
    title = "Unknown version"


class UnknownLabel(RouterError):
    """A few-shot model has not been taught this label."""

    status = 404
    title = "Unknown label"


class RequestTimeout(RouterError):
    """The request was not received whole in time."""

    status = 408
    title = "Request timeout"


class NothingTaught(RouterError):
    """A few-shot model is asked before it was taught a label."""

    status = 409
    title = "Nothing taught"

    def __init__(self, model: str) -> None:
        super().__init__(f"'{model}' knows no label yet; POST pictures to /{model}/support/ first.")


class TooLarge(RouterError):
    """More was sent than the router takes."""

    status = 413
    title = "Too large"


class TooManyRequests(RouterError):
    """The key's rate or daily quota is used up."""

    status = 429
    title = "Too many requests"


class LimitsUnavailable(RouterError):
    """Rates and quotas cannot be checked now, so nothing that has one is let through."""

    status = 503
    title = "Limits unavailable"
    retry_after_seconds = 1


class SupportUnavailable(RouterError):
    """What a few-shot model was taught cannot be reached now."""

    status = 503
    title = "Support set unavailable"
    retry_after_seconds = 1


class NotReady(RouterError):
    """No model can be asked now."""

    status = 503
    title = "Not ready"
    retry_after_seconds = 1


class Draining(NotReady):
    """The router takes no more requests, for it is stopping."""

    title = "Draining"


class ClientGone(RouterError):
    """The client closed its connection while its request waited."""

    status = 499
    title = "Client closed request"


class DeadlinePassed(RouterError):
    """The time was over before the images were decoded."""

    status = 504
    title = "Deadline passed"


class TooBusy(RouterError):
    """As many requests as allowed are already waiting for this model, or for images by URL."""

    status = 503
    title = "Too busy"
    retry_after_seconds = 1


class UpstreamError(RouterError):
    """The model server answered, but not with predictions."""

    status = 502
    title = "Bad upstream answer"


class UpstreamUnavailable(UpstreamError):
    """No model server can be reached, or none has a version available."""

    status = 503
    title = "Model unavailable"
    retry_after_seconds = 1


class UpstreamTimeout(UpstreamError):
    """The model server did not answer before the deadline."""

    status = 504
    title = "Upstream timeout"
