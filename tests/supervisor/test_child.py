"""Children: their lines, their ends, their restarts; and that none outlives the supervisor."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor import child as child_module
from supervisor.child import RESTART_DELAYS_SECONDS, TETHER, Child, Command
from supervisor.console import Console
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Terminal(io.StringIO):
    """A terminal whose text can be read afterwards."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture
def stream() -> io.StringIO:
    """What the console prints to."""
    return io.StringIO()


@pytest.fixture
def console(tmp_path: Path, stream: io.StringIO) -> Iterator[Console]:
    """A console with its logs in a folder of the test."""
    console = Console(tmp_path / "logs", stream)
    yield console
    console.close()


def child_of(console: Console, script: str, name: str = "child") -> Child:
    """A child that runs a Python script."""
    return Child(Command(name, (sys.executable, "-c", script), {"COLOR": "red"}), console)


def wait_for_end(child: Child) -> None:
    """Wait until its process is over."""
    wait_until(lambda: child.exit_status is not None, seconds=10, what="the child has ended")


def test_lines_are_prefixed_and_logged(
    console: Console, stream: io.StringIO, tmp_path: Path
) -> None:
    """Each line of a child appears as `name │ line` and in the child's log file."""
    child = child_of(console, "import os; print('first'); print(os.environ['COLOR'])", "tiny")
    child.start()
    wait_for_end(child)
    child.end()
    console.close()
    assert stream.getvalue() == "tiny     │ first\ntiny     │ red\n"
    assert (tmp_path / "logs" / "tiny.log").read_text() == "first\nred\n"


def test_names_are_colored_on_a_terminal_only(tmp_path: Path) -> None:
    """On a terminal the name is colored, the line is not."""
    terminal = Terminal()
    console = Console(tmp_path, terminal)
    console.line("tiny", "text")
    console.close()
    assert terminal.getvalue().startswith("\x1b[")
    assert terminal.getvalue().endswith("\x1b[0m │ text\n")


def test_loading_noise_is_logged_only(
    console: Console, stream: io.StringIO, tmp_path: Path
) -> None:
    """What TensorFlow says while it is loaded goes to the log file, not to the terminal; its errors go to both."""
    noise = "I0000 00:00:1795195372.096129    2711 port.cc:153] oneDNN custom operations are on."
    console.line("m", noise)
    console.line("m", "F0000 00:00:1795195372.096129    2711 cpu.cc:37] AVX is not available")
    console.close()
    assert noise not in stream.getvalue()
    assert "AVX is not available" in stream.getvalue()
    assert noise in (tmp_path / "logs" / "m.log").read_text()


def test_progress_bars_become_their_last_state(console: Console, stream: io.StringIO) -> None:
    """Of a line that a program overwrites with carriage returns, the last state is shown."""
    child = child_of(console, r"print('10 %\r90 %\r100 %')")
    child.start()
    wait_for_end(child)
    child.end()
    console.close()
    assert stream.getvalue().endswith("│ 100 %\n")


def test_a_child_that_dies_is_restarted_later_each_time_and_then_given_up(console: Console) -> None:
    """The delays before restarts grow, and after the last one the reason of giving up is its last line."""
    child = child_of(console, "print('no such model'); raise SystemExit(3)")
    delays = []
    for _ in RESTART_DELAYS_SECONDS:
        child.start()
        wait_for_end(child)
        before = time.monotonic()
        child.bury()
        assert child.restart_at is not None
        delays.append(round(child.restart_at - before))
    child.start()
    wait_for_end(child)
    child.bury()
    console.close()
    assert delays == list(RESTART_DELAYS_SECONDS)
    assert child.restart_at is None
    assert child.given_up == "child ended 6 times in a row; its last words: no such model"


def test_the_last_lines_are_those_of_the_last_run(console: Console, tmp_path: Path) -> None:
    """What a process said before its predecessor was buried is no reason for its own end."""
    script = f"import pathlib; p = pathlib.Path({str(tmp_path / 'runs')!r}); p.open('a').write('x'); print(p.read_text())"
    child = child_of(console, script)
    for run in ("x", "xx"):
        child.start()
        wait_for_end(child)
        child.bury()
        assert child.last_lines() == run


def test_a_child_that_says_it_never_will_run_is_given_up_at_once(console: Console) -> None:
    """Its hopeless status at its first end is believed; later, when it has run before, it is restarted as ever."""
    script = "print('a is no b.'); raise SystemExit(2)"
    command = Command("child", (sys.executable, "-c", script), {}, hopeless_status=2)
    child = Child(command, console)
    child.start()
    wait_for_end(child)
    child.bury()
    assert child.given_up == "child ended at once; its last words: a is no b"
    again = Child(command, console)
    again.start()
    again.signal(signal.SIGKILL)
    wait_for_end(again)
    again.bury()
    again.start()
    wait_for_end(again)
    again.bury()
    console.close()
    assert again.given_up is None
    assert again.restart_at is not None


def test_a_child_that_is_asked_by_another_signal_ignores_sigterm(
    console: Console, stream: io.StringIO
) -> None:
    """Whoever is to outlast the others goes on when a platform sends SIGTERM to every process."""
    script = "print('here', flush=True); import time; time.sleep(60)"
    arguments = (sys.executable, "-c", script)
    child = Child(Command("child", arguments, {}, stop_signal=signal.SIGINT), console)
    child.start()
    wait_until(lambda: "here" in stream.getvalue(), seconds=10, what="it runs")
    child.signal(signal.SIGTERM)
    child.ask_to_end()
    wait_for_end(child)
    child.end()
    console.close()
    assert child.exit_status == -signal.SIGINT


def test_the_end_comes_to_what_ignores_sigterm(console: Console, stream: io.StringIO) -> None:
    """A child that is deaf to SIGTERM is killed, and its status tells it."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    child = child_of(console, script)
    child.start()
    wait_until(lambda: "deaf" in stream.getvalue(), seconds=10, what="it runs")
    child.signal(signal.SIGTERM)
    child.end()
    console.close()
    assert child.exit_status == -signal.SIGKILL


def test_bury_removes_the_rest_of_the_group(console: Console, tmp_path: Path) -> None:
    """Processes that a dead child has left behind in its group are killed before it is started again."""
    pid_file = tmp_path / "grandchild"
    script = (
        "import subprocess, sys, pathlib\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(p.pid))"
    )
    child = child_of(console, script)
    child.start()
    wait_for_end(child)
    child.bury()
    console.close()
    wait_until(
        lambda: not _alive(int(pid_file.read_text())), seconds=5, what="the grandchild is gone"
    )


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (subprocess.Popen, BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")),
        (threading.Thread, RuntimeError("can't start new thread")),
    ],
)
def test_what_cannot_be_started_now_is_started_later(
    console: Console,
    stream: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    what: type,
    error: Exception,
) -> None:
    """Without room for a process or its thread, a sentence says so, nothing is left, and it is tried again."""
    monkeypatch.setattr(child_module, "START_AGAIN_SECONDS", 0.0)
    child = child_of(console, "print('here')")
    with monkeypatch.context() as without_room:
        start = "__init__" if what is subprocess.Popen else "start"
        without_room.setattr(what, start, _raising(error))
        child.start()
    assert not child.is_running
    assert not child.has_ended
    assert f"cannot be started ({error}); it is tried again" in stream.getvalue()
    child.start_when_due()
    wait_for_end(child)
    assert child.last_words() == "here"
    child.end()
    console.close()


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_buried_process_is_never_signalled_again(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its end a process id may become another program's, so stopping kills no group; the status is kept."""
    child = child_of(console, "raise SystemExit(3)")
    child.start()
    wait_for_end(child)
    child.bury()
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, _: killed.append(pid))
    child.end()
    console.close()
    assert killed == []
    assert child.exit_status == 3


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can signal the parent's death")
def test_a_tethered_program_ends_with_its_parent(tmp_path: Path) -> None:
    """After kill -9 of the parent, the program that it started through the tether is gone."""
    pid_file = tmp_path / "pid"
    inner = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    outer = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, {str(TETHER)!r}, str(os.getpid()), '15', sys.executable, '-c', {inner!r}])\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", outer]) as parent:
        try:
            wait_until(
                lambda: pid_file.exists() and pid_file.read_text() != "", seconds=10, what="it runs"
            )
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    wait_until(
        lambda: not _alive(int(pid_file.read_text())), seconds=5, what="it ended with its parent"
    )
