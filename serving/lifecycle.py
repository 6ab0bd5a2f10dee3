"""The nouns of a model's life: what is to be served, and what became of each version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.errors import Code
from serving.servable import State
from serving.version_policy import Latest, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from serving.errors import ServingError
    from serving.servable import Servable


@dataclass(frozen=True)
class ServedModel:
    """What the configuration says of one model."""

    name: str
    base_path: Path
    policy: Policy = field(default_factory=Latest)
    version_labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadOptions:
    """How often and how many at once; see the flags of the same names."""

    max_num_load_retries: int = 5
    load_retry_interval_seconds: float = 60.0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    allow_labels_for_unavailable: bool = False


@dataclass(frozen=True)
class VersionStatus:
    """What is told of a version: its state, and the error it ended with."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass(frozen=True)
class InUse:
    """A version that will not be closed before its user is done."""

    version: int
    servable: Servable


class Version:
    """A version's mutable part; every field is guarded by the manager's lock."""

    def __init__(self, model: str, number: int, path: Path) -> None:
        self.model = model
        self.number = number
        self.path = path
        self.state = State.START
        self.aspired = True
        self.failed_attempts = 0
        self.error: ServingError | None = None
        self.servable: Servable | None = None
        self.users = 0

    def status(self) -> VersionStatus:
        """What is told of it now."""
        if self.error is None or self.state is not State.END:
            return VersionStatus(self.number, self.state)
        return VersionStatus(self.number, self.state, self.error.code, self.error.message)
