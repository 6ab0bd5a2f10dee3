"""Load, hand out and unload the versions of models.

The life of a version: START → LOADING → AVAILABLE → UNLOADING → END. A new version is loaded
before the one it replaces is unloaded; a version being unloaded finishes its requests first;
one that does not load ends with its error and leaves the others serving.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from serving.errors import FailedPrecondition, InvalidArgument, NotFound, ServingError
from serving.lifecycle import InUse, LoadOptions, ServedModel, Version, VersionStatus
from serving.servable import State
from serving.source import Source
from serving.version_policy import aspired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from serving.paths import Target
    from serving.servable import Servable

logger = logging.getLogger(__name__)


class Manager:
    """Keeps the loaded versions in step with the configuration and the disk."""

    def __init__(
        self, load: Callable[[str, int, Path], Servable], options: LoadOptions | None = None
    ) -> None:
        """Make a manager that serves nothing yet.

        Args:
            load: makes a servable from a model's name, a version number and its folder; raises
                ServingError. Called from threads of the manager's own.
            options: retries, threads, labels.
        """
        self._load = load
        self._options = options or LoadOptions()
        self._changed = threading.Condition()
        self._models: dict[str, ServedModel] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        self._source = Source()
        self._closing = False
        self._has_started = False  # before that nothing is tried again: better to say what is wrong
        self._loaders = ThreadPoolExecutor(max(1, self._options.num_load_threads), "load")
        self._unloaders = ThreadPoolExecutor(max(1, self._options.num_unload_threads), "unload")

    # ------------------------------------------------------------------ what is asked of it
    @contextmanager
    def use(self, target: Target) -> Iterator[InUse]:
        """Hold the version that `target` means, or the newest, until the block ends.

        Raises:
            InvalidArgument: the label is unknown.
            NotFound: no such version is available.
        """
        with self._changed:
            version = self._find(target)
            version.users += 1
        try:
            if version.servable is None:
                raise AssertionError("an available version has its servable")
            yield InUse(version.number, version.servable)
        finally:
            self._release(version)

    def statuses(self, model: str, number: int | None = None) -> list[VersionStatus]:
        """The states of a model's versions, newest first, or of one.

        Raises:
            NotFound: never heard of it.
        """
        with self._changed:
            known = self._versions.get(model, {})
            wanted = known if number is None else {n: v for n, v in known.items() if n == number}
            found = [wanted[n].status() for n in sorted(wanted, reverse=True)]
        if not found:
            which = "any versions" if number is None else f"version {number}"
            raise NotFound(f"Could not find {which} of model {model}")
        return found

    def configure(self, models: Sequence[ServedModel]) -> set[str]:
        """Serve these models from now on, and no others; all of it or, when wrong, nothing.

        Returns:
            The names of those that were not served so far.

        Raises:
            FailedPrecondition: a label would move to a version that is not available.
        """
        with self._changed:
            for model in models:
                self._check_labels(model)
            before, self._models = self._models, {model.name: model for model in models}
            self._labels = {model.name: model.version_labels for model in models}
            for name in before.keys() - self._models.keys():
                self._aspire(name, {})
            new = self._models.keys() - before.keys()
        self.poll()
        return new

    def serves(self, models: Sequence[ServedModel]) -> bool:
        """Say whether exactly these models are configured."""
        with self._changed:
            return self._models == {model.name: model for model in models}

    def poll(self) -> None:
        """Look at every base path once, and start the loads and unloads that follow."""
        for model in list(self._models.values()):
            there = self._source.versions(model)
            if there is None:
                continue
            wanted = aspired(model.policy, there.keys())
            with self._changed:
                if self._models.get(model.name) is model:
                    self._aspire(model.name, {number: there[number] for number in wanted})

    def wait_until_available(self, timeout_seconds: float, names: set[str] | None = None) -> bool:
        """Wait until each configured model of these names (or each) has a version to serve; say whether that is so.

        Raises:
            ServingError: a model has none, and what it had failed to load.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or not self._pending(names) or self._failures(names),
                timeout_seconds,
            )
            if failures := self._failures(names):
                what = "model(s)" if self._has_started else "servable(s)"
                raise ServingError(
                    f"{len(failures)} {what} did not become available: {{{''.join(failures)}}}"
                )
            self._has_started = self._has_started or not self._pending()
            return not self._pending(names)

    def close(self) -> None:
        """Load nothing any more and unload all, waiting for nobody."""
        with self._changed:
            self._closing = True
            self._models = {}
            for name in self._versions:
                self._aspire(name, {})
            self._changed.notify_all()
        self._loaders.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ how; the lock is held
    def _find(self, target: Target) -> Version:
        number = target.version
        if target.version_label is not None:
            number = self._labels.get(target.model, {}).get(target.version_label)
            if number is None:
                raise InvalidArgument(
                    f"Unrecognized servable version label: {target.version_label}"
                )
        versions = self._versions.get(target.model, {})
        available = (n for n, v in versions.items() if v.state is State.AVAILABLE)
        chosen = max(available, default=None) if number is None else number
        if chosen in versions and versions[chosen].state is State.AVAILABLE:
            return versions[chosen]
        what = (
            f"Latest({target.model})" if number is None else f"Specific({target.model}, {number})"
        )
        raise NotFound(f"Servable not found for request: {what}")

    def _check_labels(self, model: ServedModel) -> None:
        known = self._labels.get(model.name, {})
        versions = self._versions.get(model.name, {})
        for label, number in model.version_labels.items():
            if number in versions and versions[number].state is State.AVAILABLE:
                continue
            if self._options.allow_labels_for_unavailable and known.get(label, number) == number:
                continue
            raise FailedPrecondition(
                f"Request to assign label to version {number} of model {model.name}, "
                "which is not currently available for inference"
            )

    def _aspire(self, model: str, wanted: Mapping[int, Path]) -> None:
        versions = self._versions.setdefault(model, {})
        for number, version in versions.items():
            version.aspired = number in wanted
        for number, path in wanted.items():
            known = versions.get(number)
            if known is None or (known.state is State.END and not known.failed_attempts):
                versions[number] = Version(model, number, path)
        for version in versions.values():
            if not version.aspired and version.state is State.END:
                version.failed_attempts = 0  # should it come back, it is tried again
        self._reconcile(model)

    def _reconcile(self, model: str) -> None:
        versions = sorted(self._versions[model].values(), key=lambda v: v.number, reverse=True)
        for version in versions:
            if version.state is State.START and not self._closing:
                version.state = State.LOADING
                self._loaders.submit(self._load_version, version)
        available = [v for v in versions if v.state is State.AVAILABLE]
        stale = [v for v in available if not v.aspired]
        if any(v.aspired for v in versions) and len(stale) == len(available):
            stale = stale[1:]  # the highest keeps serving until something better can
        for version in stale:
            version.state = State.UNLOADING
            if not version.users:
                self._unloaders.submit(self._unload_version, version)

    def _pending(self, names: set[str] | None = None) -> list[str]:
        return [
            name
            for name in self._models
            if names is None or name in names
            if not any(v.state is State.AVAILABLE for v in self._versions.get(name, {}).values())
        ]

    def _failures(self, names: set[str] | None) -> list[str]:
        return [
            f"{{{{name: {name} version: {v.number}}} due to error: {v.error.status_text()}}}, "
            for name in self._pending(names)
            for v in self._versions.get(name, {}).values()
            if v.state is State.END and v.error is not None
        ]

    # ------------------------------------------------------------------ how; on other threads
    def _release(self, version: Version) -> None:
        with self._changed:
            version.users -= 1
            if version.state is State.UNLOADING and not version.users:
                self._unloaders.submit(self._unload_version, version)

    def _load_version(self, version: Version) -> None:
        try:
            servable = self._load(version.model, version.number, version.path)
        except ServingError as error:
            self._load_failed(version, error)
            return
        except Exception as error:  # a loader's own mistake must not stop the others' service
            logger.exception("loading %s version %d", version.model, version.number)
            self._load_failed(version, ServingError(str(error)))
            return
        logger.info("model %s version %d is available", version.model, version.number)
        with self._changed:
            version.servable = servable
            version.error = None
            version.state = State.AVAILABLE
            self._reconcile(version.model)
            self._changed.notify_all()

    def _load_failed(self, version: Version, error: ServingError) -> None:
        logger.error("model %s version %d: %s", version.model, version.number, error.message)
        with self._changed:
            version.failed_attempts += 1
            version.error = error
            again = version.failed_attempts <= self._options.max_num_load_retries
            if again and version.aspired and self._has_started and not self._closing:
                self._retry_later(version)
                return
            version.state = State.END
            self._reconcile(version.model)
            self._changed.notify_all()

    def _retry_later(self, version: Version) -> None:
        def retry() -> None:
            with self._changed:
                if not self._closing:
                    self._loaders.submit(self._load_version, version)

        timer = threading.Timer(self._options.load_retry_interval_seconds, retry)
        timer.daemon = True
        timer.start()

    def _unload_version(self, version: Version) -> None:
        with self._changed:
            servable, version.servable = version.servable, None
        if servable is not None:
            servable.close()
        with self._changed:
            version.state = State.END
            self._reconcile(version.model)
            self._changed.notify_all()
        logger.info("model %s version %d is unloaded", version.model, version.number)
