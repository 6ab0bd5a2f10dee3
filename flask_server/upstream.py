"""Asks a model's servers for predictions: which signature, which replica, what a failure means.

Speaks TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest) and nothing else.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flask_server import tensor_text
from flask_server.decoding import best_of
from flask_server.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from flask_server.replicas import RetryBudget
from flask_server.served_versions import (
    PIXELS_SIGNATURE,
    TOP_SIGNATURE,
    Call,
    ServedVersions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from flask_server.preprocessing import Convention
    from flask_server.replicas import Replica, Replicas
    from flask_server.served_versions import Served
    from flask_server.transport import Answer
    from model_config import ModelConfig

_STATUS_SECONDS = 1.0
# Silent for this much of the model's own time, a replica hangs; for less, others may have used the time up before it.
_HUNG_SHARE = 0.5
_SWAPS_PER_REQUEST = 3
_DEFAULT_SIGNATURE = "serving_default"
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Upstream:
    """The model servers of one model."""

    def __init__(
        self, config: ModelConfig, replicas: Replicas, convention: Convention | None
    ) -> None:
        self._name = config.name
        self._hung_seconds = _HUNG_SHARE * config.timeout_seconds
        self._replicas = replicas
        self._convention = convention
        self._versions = ServedVersions(config.servable)
        self._budget = RetryBudget()

    def predict(self, arrays: Sequence[NDArray[Any]], call: Call) -> tuple[list[Any], int]:
        """Predict.

        Args:
            arrays: One for each image: uint8 pixels if the model has a convention, else what it takes.
            call: Deadline, version and headers.

        Returns:
            The model's rows, one for each image, and the version that computed them. Rows are a `Best` where the call wants
            no more than a version tells in that form.

        Raises:
            UpstreamError: No model server answered with predictions.
            UnknownVersion: There is no such version or label.
            ClientGone: Nobody waits for the answer any more.
        """
        return self._run(
            call,
            lambda served: self._body(served, arrays, call),
            lambda served, body: self._rows(served, body, len(arrays), call),
        )

    def outputs(
        self, signature: str, inputs: Mapping[str, Any], call: Call
    ) -> tuple[dict[str, Any], int]:
        """Run any signature that has several outputs, with JSON values as its inputs.

        Returns:
            Its outputs by name, and the version that computed them.

        Raises:
            UpstreamError, UnknownVersion, ClientGone: As `predict`.
        """
        body = tensor_text.columns_request(signature, inputs)
        return self._run(call, lambda _: body, lambda _, answer: tensor_text.outputs(answer))

    def refuse_if_down(self, call: Call) -> None:
        """Before work is put into a request: if every replica failed when last asked, see whether one is back.

        Raises:
            UpstreamError: None is.
        """
        if all(replica.failures for replica in self._replicas.all):
            self._ask(lambda replica: self._versions.look_again(replica, call))

    def states(self) -> dict[int, str]:
        """Version -> state, newest first; a version available on any replica is AVAILABLE.

        Raises:
            UpstreamError: No replica tells.
        """
        ask = partial(self._states_on, Call(deadline=time.monotonic() + _STATUS_SECONDS))
        with ThreadPoolExecutor(len(self._replicas.all)) as pool:  # one may hang
            told = [states for states in pool.map(ask, self._replicas.all) if states]
        if not told:
            raise UpstreamUnavailable("No model server answers.")
        merged: dict[int, str] = {}
        for states in told:
            merged |= {v: s for v, s in states.items() if merged.get(v) != "AVAILABLE"}
        return dict(sorted(merged.items(), reverse=True))

    def _states_on(self, call: Call, replica: Replica) -> dict[int, str] | None:
        try:
            answer = replica.exchange(call.exchange("GET", self._versions.path))
            entries = tensor_text.json_of(answer.body)["model_version_status"]
            return {int(entry["version"]): str(entry["state"]) for entry in entries}
        except (OSError, UpstreamError, KeyError, TypeError, ValueError):
            return None

    def _run(
        self, call: Call, write: Callable[[Served], bytes], read: Callable[[Served, bytes], _T]
    ) -> tuple[_T, int]:
        """Have a version run a signature: `write` the request for what it has, `read` its answer."""
        self._budget.earn()
        return self._ask(lambda replica: self._run_on(replica, call, write, read))

    def _ask(self, ask: Callable[[Replica], _T]) -> _T:
        """Ask the replicas in turn, until one answers.

        Going on is safe, for a prediction changes nothing; but it costs the others. So only a replica that refused
        the connection is passed over freely; after any other failure there is one retry, within the budget.
        What a replica answers may be the request's fault. So for an answer it is set aside only if another one does
        better at the same.
        """
        retried, worse = False, None
        failure: UpstreamError = UpstreamUnavailable(
            f"The model server of '{self._name}' cannot be reached now."
        )
        for replica in self._replicas.in_order():
            begun = time.monotonic()
            try:
                with replica.busy():
                    answer = ask(replica)
            except ConnectionRefusedError:
                continue
            except (ConnectionError, UpstreamError) as error:
                failure = _failure(error, self._name)
                if retried or not self._budget.spend():
                    break
                retried = True
                if isinstance(error, UpstreamError):  # else it is set aside already
                    worse = replica
            except TimeoutError:
                if time.monotonic() - begun >= self._hung_seconds:
                    replica.put_aside()
                raise UpstreamTimeout(f"The model '{self._name}' did not answer in time.") from None
            else:
                if worse is not None:
                    worse.put_aside()
                return answer
        raise failure

    def _run_on(
        self,
        replica: Replica,
        call: Call,
        write: Callable[[Served], bytes],
        read: Callable[[Served, bytes], _T],
    ) -> tuple[_T, int]:
        served = self._versions.get(replica, call)
        for _ in range(_SWAPS_PER_REQUEST):
            path = f"{self._versions.path}/versions/{served.version}:predict"
            answer = replica.exchange(call.exchange("POST", path, write(served)))
            if answer.status == 200:
                rows = read(served, answer.body)
                replica.has_predicted()
                return rows, served.version
            if answer.status != 404:
                raise self._meaning(answer)
            served = self._versions.look_again(replica, call)  # unloaded since: which is it now?
        raise UpstreamUnavailable(f"The versions of '{self._name}' change too fast; try again.")

    def _body(self, served: Served, arrays: Sequence[NDArray[Any]], call: Call) -> bytes:
        """Choose the cheapest signature that the version has, and write the request for it."""
        if self._convention is None:
            return tensor_text.numbers_request(_numbers_signature(served), arrays)
        if self._best_suffice(served, call):
            return tensor_text.bytes_request(TOP_SIGNATURE, arrays)
        if served.signatures.get(PIXELS_SIGNATURE) == "DT_STRING":
            return tensor_text.bytes_request(PIXELS_SIGNATURE, arrays)
        numbers = [self._convention(array) for array in arrays]
        return tensor_text.numbers_request(_numbers_signature(served), numbers)

    def _rows(self, served: Served, body: bytes, count: int, call: Call) -> list[Any]:
        rows = tensor_text.predictions(body, count)
        if self._best_suffice(served, call):
            return [best_of(row, served.classes) for row in rows]
        return rows

    def _best_suffice(self, served: Served, call: Call) -> bool:
        """Whether the version tells as many of the best classes as the call wants, from pixels as we have them."""
        return self._convention is not None and call.top is not None and call.top <= served.top

    def _meaning(self, answer: Answer) -> UpstreamError | TimeoutError:
        """Say what the model server's failure means; what it said itself is for the log only."""
        reason = tensor_text.error_of(answer.body)[:500]
        _log.warning("model server of %s answered %d: %s", self._name, answer.status, reason)
        if answer.status in (429, 503):
            return UpstreamUnavailable(f"The model '{self._name}' has no capacity now; try again.")
        if answer.status == 504:
            return TimeoutError()
        return UpstreamError(f"The model '{self._name}' could not compute a prediction for this.")


def _failure(error: Exception, name: str) -> UpstreamError:
    if isinstance(error, UpstreamError):
        return error
    return UpstreamUnavailable(f"The model server of '{name}' broke off; try again in a moment.")


def _numbers_signature(served: Served) -> str:
    """The signature that takes an array of numbers: the default one, or the only one there is."""
    if served.signatures.get(_DEFAULT_SIGNATURE):
        return _DEFAULT_SIGNATURE
    usable = [name for name, dtype in served.signatures.items() if dtype not in (None, "DT_STRING")]
    if len(usable) != 1:
        raise UpstreamError("The exported model has no signature with one input of numbers.")
    return usable[0]
