"""Do what a Dockerfile says without Docker: its commands, its files, its user, a read-only root.

The image's file system is a folder; what the base image would bring (Python, the C library) is mounted into it from this
machine, in a mount namespace that ends with the process. All stages share one folder, which `COPY --from` then has nothing
to do for: what counts as the image is what its last stage copies.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dockerfile_parse import DockerfileParser

from tests.processes import ROOT, running_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.processes import Program

DOCKERFILES = ROOT / "deploy" / "docker"
BASE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev", "/proc", sys.base_prefix)
BASE_PATH = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENTER = """
root=$1 mode=$2; shift 2
mount --rbind "$root" "$root"
for folder in $BASE; do
    [ ! -e "$folder" ] || mount --rbind "$folder" "$root$folder"
done
[ "$mode" = write ] || {
    mount -o remount,bind,ro "$root"
    mount -t tmpfs tmpfs "$root/tmp"
}
exec chroot "$@"
"""
"""Mounts what is needed, then becomes `chroot` with the arguments that are left."""


def needs_namespaces() -> pytest.MarkDecorator:
    """Skips where no mount and network namespaces can be made: without root, or in a container without its powers."""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--mount", "--net", "true"]
    possible = unshare is not None and subprocess.run(command, check=False).returncode == 0
    return pytest.mark.skipif(
        not possible, reason="needs the right to make namespaces (root) and unshare (util-linux)"
    )


@contextlib.contextmanager
def built(dockerfile: str) -> Iterator[Container]:
    """The image of a Dockerfile, in a folder that its user may enter; removed at the end."""
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    try:
        yield Container(DOCKERFILES / dockerfile, root).build()
    finally:
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(root) not in mounts, f"{root} is still mounted into; it must not be removed"
        shutil.rmtree(root)


class Container:
    """An image laid out in a folder, and what its Dockerfile says of running it."""

    def __init__(self, dockerfile: Path, root: Path) -> None:
        self.root = root
        self.env: dict[str, str] = {"PATH": BASE_PATH}
        self.entrypoint: list[str] = []
        self.arguments: list[str] = []
        self.health: list[str] = []
        self.user = "0:0"
        self.copied: set[Path] = set()
        self._folder = "/"
        self._args: dict[str, str] = {}
        parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes()))
        self._steps = [step for step in parser.structure if step["instruction"] != "COMMENT"]

    def build(self, *, install: bool = True) -> Container:
        """Carry out every instruction in order (without `install`, not the RUN ones); return itself."""
        for folder in (*BASE, "/tmp", "/opt", "/models"):
            (self.root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for step in self._steps:
            if step["instruction"] == "RUN" and not install:
                continue
            getattr(self, f"_{step['instruction'].lower()}")(step["value"])
        return self

    @property
    def shell_command(self) -> str:
        """The CMD of a Dockerfile that writes it as a line for the shell."""
        (line,) = (step["value"] for step in self._steps if step["instruction"] == "CMD")
        return str(line)

    @property
    def megabytes(self) -> float:
        """Size of what the last stage put into the image."""
        files = (f for path in self.copied for f in (path, *path.rglob("*")) if not f.is_symlink())
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    @contextlib.contextmanager
    def running(
        self, *arguments: str, log: Path, env: Mapping[str, str] | None = None
    ) -> Iterator[Program]:
        """Run the container's program as its user, on a read-only root with a /tmp."""
        command = [*self.entrypoint, *(arguments or self.arguments)]
        inside = self._inside("read", self.user, command)
        with running_command(*inside, log=log, env=self._environment(env)) as program:
            yield program

    def run(self, command: list[str], env: Mapping[str, str] | None = None) -> str:
        """Run a command beside it, as `docker exec` would; return what it printed, fail if it fails."""
        inside = self._inside("read", self.user, command)
        return _checked(inside, self._environment(env))

    def _inside(self, mode: str, user: str, command: list[str]) -> list[str]:
        enter = ["unshare", "--mount", "sh", "-ec", ENTER, "enter", str(self.root), mode]
        return [*enter, f"--userspec={user}", str(self.root), "env", "-C", self._folder, *command]

    def _environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        package_index = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_"))}
        return {**package_index, "BASE": " ".join(BASE), **self.env, **(env or {})}

    # -- instructions ------------------------------------------------------------------------------------------

    def _from(self, _value: str) -> None:
        self._folder = "/"
        self.copied = set()
        self.user = "0:0"

    def _arg(self, value: str) -> None:
        name, _, default = value.partition("=")
        self._args[name] = default

    def _env(self, value: str) -> None:
        for word in shlex.split(value):
            name, _, text = word.partition("=")
            self.env[name] = string.Template(text).safe_substitute(self._args | self.env)

    def _workdir(self, value: str) -> None:
        self._folder = value
        self._place(value).mkdir(parents=True, exist_ok=True)

    def _copy(self, value: str) -> None:
        *sources, target = shlex.split(value)
        if sources[0].startswith("--from="):
            self.copied.add(self._place(target))
            return
        for source in sources:
            self._copy_in(ROOT / source, self._place(target), many=target.endswith("/"))

    def _copy_in(self, source: Path, target: Path, *, many: bool) -> None:
        if source == ROOT:
            for name in _allowed():
                if (ROOT / name).exists():
                    self._copy_in(ROOT / name, target / name, many=False)
            return
        target = target / source.name if many else target
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignore)
        else:
            shutil.copy(source, target)
        self.copied.add(target)

    def _run(self, value: str) -> None:
        _checked(self._inside("write", "0:0", ["sh", "-c", value]), self._environment())

    def _user(self, value: str) -> None:
        self.user = value

    def _cmd(self, value: str) -> None:
        self.arguments = json.loads(value)

    def _entrypoint(self, value: str) -> None:
        self.entrypoint = json.loads(value)

    def _healthcheck(self, value: str) -> None:
        self.health = json.loads(value.partition("CMD ")[2])

    def _expose(self, _value: str) -> None:
        """Says nothing to us: ports are those of this machine."""

    def _stopsignal(self, value: str) -> None:
        assert value == "SIGTERM", "tests stop programs with SIGTERM"

    def _place(self, path: str) -> Path:
        """Where a path of the image is in the folder."""
        return self.root / os.path.normpath(Path(self._folder, path)).lstrip("/")


def _allowed() -> list[str]:
    """What .dockerignore lets into a build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def compiled_when_run(log: Path) -> list[str]:
    """The source files of packages and of ours that Python compiled, by what it logged with PYTHONVERBOSE."""
    return re.findall(r"^# code object from (/(?:opt|app)/.*\.py)$", log.read_text(), re.MULTILINE)


def _checked(command: list[str], env: Mapping[str, str]) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=env, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
