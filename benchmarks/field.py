"""The models that are measured, and what is made of them before anything is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.processes import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class BenchmarkModel:
    """A model that is measured; its weights are random, since speed does not depend on them."""

    name: str
    architecture: str
    side: int
    intra_op_threads: int
    """That suit it best, for LIMIT; 0: as many as there are processors."""


MODELS = (
    BenchmarkModel("mobilenet_v2", "MobileNetV2", 224, intra_op_threads=1),
    BenchmarkModel("inception_v3", "InceptionV3", 299, intra_op_threads=0),
)
TINY = "tiny"
TINY_SIDE = 8
BLANKS = tuple(
    BenchmarkModel(f"blank_{model.side}", "", model.side, intra_op_threads=1) for model in MODELS
)
"""As tiny as can be, but for photos as large as the models': what is left is the cost of asking."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one run keeps its files, and how ours is set."""

    cache: Path
    """Keeps photos and exports for the next run."""
    logs: Path
    ours_env: Mapping[str, str]
    """Further settings for `auto_cmd.py`."""

    def base_path(self, name: str) -> Path:
        """Where the versions lie that ours serves."""
        return self.cache / "saved_models" / name

    def keras_export(self, name: str) -> Path:
        """What FASTAPI serves."""
        return self.cache / "keras_exports" / name

    def export(self) -> None:
        """Make the exports that the cache has not yet."""
        self._export_tiny(TINY, TINY_SIDE)
        for blank in BLANKS:
            self._export_tiny(blank.name, blank.side)
        for model in MODELS:
            keras_export = self.keras_export(model.name)
            if not keras_export.exists():
                self._run(
                    "-m", "benchmarks.programs.keras_export", model.architecture, keras_export
                )
            if not self.base_path(model.name).exists():
                models = self.models_file("export", self.tables())
                script = "scripts/export_saved_model.py"
                self._run(script, "--models", models, "--model", model.name)

    def tables(self, upstreams: Mapping[str, str] | None = None) -> list[str]:
        """The tables of a deployment like the shipped one: two large models and a tiny one.

        Args:
            upstreams: Model -> URL of its model server; the supervisor chooses the others.
        """
        upstreams = upstreams or {}
        large = [
            self._table(
                model.name,
                f'architecture = "{model.architecture}"\nweights = "random"',
                upstreams.get(model.name),
            )
            for model in MODELS
        ]
        return [*large, self.tiny_table(TINY, upstreams.get(TINY))]

    def blank_tables(self) -> list[str]:
        """The tables of the blank models."""
        return [self._table(blank.name, _size(blank.side)) for blank in BLANKS]

    def tiny_table(self, name: str, upstream: str | None = None) -> str:
        """A table of the tiny model under any name."""
        return self._table(name, _size(TINY_SIDE), upstream, base_path=self.base_path(TINY))

    def models_file(self, name: str, tables: Iterable[str]) -> Path:
        """Write a models file."""
        path = self.cache / f"{name}.toml"
        path.write_text("\n".join(tables))
        return path

    def _table(
        self, name: str, keys: str, upstream: str | None = None, base_path: Path | None = None
    ) -> str:
        place = f'upstream = "{upstream}"\n' if upstream else ""
        path = base_path or self.base_path(name)
        return f'[{name}]\n{keys}\nbase_path = "{path}"\n{place}'

    def _export_tiny(self, name: str, side: int) -> None:
        if not self.base_path(name).exists():
            folder = self.base_path(name) / "1"
            self._run("-m", "benchmarks.programs.tiny_export", folder, str(side))

    def _run(self, *arguments: str | Path) -> None:
        program = Program(arguments, self.logs / "export.log")
        if program.process.wait():
            raise RuntimeError(f"An export failed; see {program.log}.")


def _size(side: int) -> str:
    return f"input_size = [{side}, {side}]"
