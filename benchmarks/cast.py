"""Start the contenders of the main measurement together, and stop them at its end."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from benchmarks.contenders import CORES, SPARE, InProcess, Service
from benchmarks.field import MODELS, TINY
from benchmarks.ours import Ours, start_ours
from benchmarks.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.contenders import Contender
    from benchmarks.field import BenchmarkModel, Field


class Cast:
    """The contenders that one run has started, and how long each took to be ready."""

    def __init__(self, field: Field, stack: contextlib.ExitStack) -> None:
        self._field = field
        self._stack = stack
        names = [TINY, *(model.name for model in MODELS)]
        self._model_servers = {name: f"http://127.0.0.1:{free_port()}" for name in names}
        self._ours: Ours | None = None
        self.contenders: list[Contender] = []
        self.start_up_seconds: dict[str, float] = {}

    def start(self, names: tuple[str, ...]) -> None:
        """Start the contenders; SEED needs the model servers of OURS."""
        starters: dict[str, Callable[[], Contender]] = {
            "LIMIT": self._limit,
            "OURS": self._start_ours,
            "SEED": self._seed,
            "FASTAPI": self._fastapi,
        }
        self.contenders += [start() for name, start in starters.items() if name in names]

    def _limit(self) -> InProcess:
        programs = {model.name: self._limit_program(model) for model in MODELS}
        for program in programs.values():
            program.hear()  # ready
        return InProcess("LIMIT", programs)

    def _limit_program(self, model: BenchmarkModel) -> Program:
        folder = str(self._field.base_path(model.name) / "1")
        arguments = ("-m", "benchmarks.programs.limit", folder, str(model.intra_op_threads))
        return self._program("LIMIT", *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _start_ours(self) -> Service:
        tables = self._field.tables(self._model_servers)
        models_file = self._field.models_file("ours", tables)
        self._ours = start_ours(self._field, "ours", models_file, list(self._model_servers))
        self._stack.callback(self._ours.stop)
        self.start_up_seconds["OURS"] = self._ours.start_up_seconds
        return Service("OURS", self._ours.port, [self._ours.program.pid])

    def _seed(self) -> Service:
        if self._ours is None:
            raise RuntimeError("SEED goes through the model servers of OURS; measure OURS, too.")
        tables = [f"{m.name}={m.side}={self._predict_url(m.name)}" for m in MODELS]
        service = self._service(
            "SEED", lambda port: ("-m", "benchmarks.programs.seed", port, *tables)
        )
        return Service("SEED", service.port, [*service.pids, *self._ours.pids("model server")])

    def _predict_url(self, name: str) -> str:
        return f"{self._model_servers[name]}/v1/models/{name}:predict"

    def _fastapi(self) -> Service:
        tables = [f"{m.name}={m.side}={self._field.keras_export(m.name)}" for m in MODELS]
        app = "benchmarks.programs.fastapi_app:app"
        options = ("--workers", str(CORES), "--no-access-log", "--log-level", "warning")
        return self._service(
            "FASTAPI",
            lambda port: ("-m", "uvicorn", app, "--port", port, *options),
            env={"BENCHMARK_MODELS": ",".join(tables), "BENCHMARK_SPARE": str(SPARE)},
        )

    def _service(
        self,
        name: str,
        arguments: Callable[[str], tuple[str, ...]],
        env: Mapping[str, str] | None = None,
    ) -> Service:
        port = free_port()
        program = self._program(name, *arguments(str(port)), env=env)
        self.start_up_seconds[name] = program.wait_for(f"http://127.0.0.1:{port}/hello/")
        return Service(name, port, [program.pid])

    def _program(
        self,
        name: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> Program:
        log = self._field.logs / f"{name.lower()}.log"
        program = Program(arguments, log, env=env, stdin=stdin, stdout=stdout)
        self._stack.callback(program.stop)
        return program


@contextlib.contextmanager
def on_stage(field: Field, names: tuple[str, ...]) -> Iterator[Cast]:
    """Start contenders and stop them at the end."""
    with contextlib.ExitStack() as stack:
        cast = Cast(field, stack)
        cast.start(names)
        yield cast
