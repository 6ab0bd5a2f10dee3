from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scripts.command_line import counted
from tests.deploy.container import needs_namespaces
from tests.processes import ROOT
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path

MODELS = '[a]\ninput_size = [8, 8]\nupstream = "http://127.0.0.1:1"\n'


@pytest.mark.parametrize("out", ["/proc/x", "file"])
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path: Path, out: str) -> None:
    """Whatever the system says of a path that a person has named, the path is in it."""
    (tmp_path / "models.toml").write_text(MODELS)
    (tmp_path / "file").touch()
    process = run_script("render_kubernetes", "--models", "models.toml", "--out", out, cwd=tmp_path)
    assert_one_sentence(process, out, "name another path")


@pytest.mark.parametrize(
    ("pictures", "words"),
    [("nowhere", "nowhere/support: No such file"), ("empty", "two at least")],
)
def test_pictures_to_teach_with_that_are_not_there_are_one_sentence(
    tmp_path: Path, pictures: str, words: str
) -> None:
    """A wrong folder is named before the model server is asked."""
    (tmp_path / "models.toml").write_text(MODELS)
    (tmp_path / "empty" / "support").mkdir(parents=True)
    process = run_script(
        *("../examples/few_shot/request", "--models", "models.toml", "--model", "a"),
        *("--pictures", pictures),
        cwd=tmp_path,
    )
    assert_one_sentence(process, words)


@pytest.mark.parametrize(
    ("results", "words"), [("nope.json", "nope.json: No such file"), ("README.md", "no results")]
)
def test_results_that_are_none_are_one_sentence(results: str, words: str) -> None:
    """The planner names a file that it cannot plan with."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.capacity", "--results", results],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_sentence(process, words)


def test_a_benchmark_without_its_packages_names_their_list() -> None:
    """Where a package of requirements-bench.txt is missing, the file is named."""
    hide = "import runpy, sys; sys.modules['psutil'] = None; runpy.run_module('benchmarks', run_name='__main__')"
    process = subprocess.run(
        [sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert_one_sentence(process, "psutil", "requirements-bench.txt")


EXPORTS_FOR_EVER = """
import sys, time
from pathlib import Path
from scripts.command_line import run
from serving.export.versions import write_version

def write(folder):
    (folder / "half").touch()
    print("writing", flush=True)
    time.sleep(60)

run(lambda: write_version(Path(sys.argv[1]), write))
"""


FULL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1"
mkdir -p "$1/m/1"
touch "$1/m/1/saved_model.pb"
head -c 100000 /dev/zero > "$1/fill" || true
shift
exec "$@"
"""


@needs_namespaces()
@pytest.mark.parametrize(
    "arguments", [("api_keys.py", "create", "a"), ("versions.py", "promote", "m", "1", "stable")]
)
def test_a_full_disk_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What was being written leaves nothing behind."""
    (tmp_path / "models.toml").write_text("[m]\ninput_size = [8, 8]\nbase_path = 'full/m'\n")
    full = tmp_path / "full"
    full.mkdir()
    script = (sys.executable, ROOT / "scripts" / arguments[0], *arguments[1:])
    list_it = ("sh", "-c", '"$@"; echo $?; find "$0" -name "*.new"', full, *script)
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", FULL_DISK, "sh", full, *list_it],
        env={
            **os.environ,
            "MODELS_FILE": str(tmp_path / "models.toml"),
            "API_KEYS_FILE": str(full / "keys.json"),
            "STATE_DIR": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stderr.splitlines()[-1:] == [
        "No space left on device; make room, and run it again."
    ]
    assert "Traceback" not in answer.stderr
    assert answer.stdout == "1\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, and SIGTERM as the supervisor sends it, end a script with the draft removed and the status that shells expect."""
    with subprocess.Popen(
        [sys.executable, "-c", EXPORTS_FOR_EVER, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(number)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert complaints == b""
    assert [*tmp_path.rglob("half")] == []


@pytest.mark.parametrize("script", ["flask", "serving", "grpc"])
def test_a_number_of_labels_begins_at_one(tmp_path: Path, script: str) -> None:
    """No sample request takes `--top 0` for a wish that nobody has uttered."""
    process = run_script(f"{script}_sample_request", "-i", "any", "--top", "0", cwd=tmp_path)
    assert process.returncode == 2
    assert "'0' is not a whole number from 1 to 1000" in process.stderr


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train_digits", ["--seed", "-5"]),
        ("train_fashion_mnist", ["--seed", "4294967296"]),
        ("train_classifier", ["any", "--name", "any", "--seed", "-5"]),
        ("classify_folder", ["any", "--model", "any", "--top", "999999999"]),
        ("classify_folder", ["any", "--model", "any", "--concurrency", "999999999"]),
    ],
)
def test_a_number_that_nothing_can_be_done_with_is_refused(
    tmp_path: Path, script: str, arguments: list[str]
) -> None:
    """Neither NumPy's seeds nor columns and threads without end are left to end in a traceback."""
    process = run_script(script, *arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert f"'{arguments[-1]}' is not a whole number from" in process.stderr


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    """What is printed of a file whose name is no UTF-8 shows its bytes instead of ending the script."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    archive = tmp_path / os.fsdecode(b"\xff.tgz")
    process = run_script("package_model", "pack", "1", "--out", archive, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "\\udcff.tgz" in process.stdout


PROGRAMS = [
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("scripts/*.py"), *ROOT.glob("examples/*/*.py"))
    if "__main__" in path.read_text()
]


EXPLAINED = """
import argparse, runpy, sys
add = argparse.ArgumentParser.add_argument
def checked(self, *names, **options):
    assert options.get("help"), names
    return add(self, *names, **options)
argparse._ActionsContainer.add_argument = checked
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_is_explained(program: str) -> None:
    """`--help` does nothing but tell, and each line of an option or argument goes on with what it means."""
    explain = [sys.executable, "-c", EXPLAINED, program, "--help"]
    process = subprocess.run(explain, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("usage: ")


def test_one_is_not_told_as_several() -> None:
    """A count goes with the noun that it counts."""
    assert [counted(n, "picture") for n in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
