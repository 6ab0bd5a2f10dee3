"""What can go wrong: canonical status codes, and the HTTP status each one becomes.

The codes are those of gRPC and Abseil (https://abseil.io/docs/cpp/guides/status-codes);
the HTTP statuses are the ones TensorFlow Serving answers with.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """A canonical status code; the number is the one on the wire of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A failure with a canonical code; `message` is what the client reads."""

    code = Code.UNKNOWN

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code

    def status_text(self) -> str:
        """The code's name and the message, as TensorFlow Serving embeds one error in another."""
        return f"{self.code.name}: {self.message}"


class InvalidArgument(ServingError):
    """The request is wrong, whatever the state of the server."""

    code = Code.INVALID_ARGUMENT


class NotFound(ServingError):
    """No such model, version or file."""

    code = Code.NOT_FOUND


class FailedPrecondition(ServingError):
    """The request does not fit the state of the server or of the model."""

    code = Code.FAILED_PRECONDITION


class Unimplemented(ServingError):
    """Not supported here."""

    code = Code.UNIMPLEMENTED


class Unavailable(ServingError):
    """Not now; trying again later may help."""

    code = Code.UNAVAILABLE


class Internal(ServingError):
    """A mistake of the server or of the model."""

    code = Code.INTERNAL
