"""The production WSGI server: gunicorn's threaded workers, answering in the router's own shape.

Reading models.toml again (SIGHUP) replaces the application inside each worker; no socket and no process changes.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from flask_server.access import announce
from flask_server.connection import tls_context
from flask_server.metrics import forget_process
from flask_server.served_app import reread_app, served_app
from flask_server.worker_board import WorkerBoard
from flask_server.wsgi_worker import HEEDED, RouterWorker
from model_config import ConfigError

if TYPE_CHECKING:
    from flask import Flask

    from flask_server.settings import Settings

_HEARTBEAT_SECONDS = 60
_MOST_CONNECTIONS = 4096
# mallopt(3), malloc.h. One arena for each thread, as glibc has it, made a worker grow by a third. And as it sets its
# thresholds by what it happens to see first, it may give a photo's buffers back to the kernel after each request, which
# has to clear 700 pages for the next one then: a millisecond.
_MALLOC_OPTIONS = {
    -8: 1,  # M_ARENA_MAX
    -3: 8 * 2**20,  # M_MMAP_THRESHOLD: what is larger is always given back
    -1: 12 * 2**20,  # M_TRIM_THRESHOLD: so much free memory is kept
}
_log = logging.getLogger(__name__)


def check_port(settings: Settings) -> None:
    """Find out at once whether the address can be listened on.

    Raises:
        ConfigError: It cannot; the sentence says who should change what.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return  # systemd listens there already and hands the socket to gunicorn (sd_listen_fds(3))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"The router cannot listen on {settings.host}, port {settings.port} ({error.strerror}): stop the"
                " program that uses it, or choose another with --host and --port (HOST, PORT)."
            ) from None


def check_tls(settings: Settings) -> None:
    """Find out at once whether hands can be shaken.

    Raises:
        ConfigError: Certificate and key cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is not None and key is not None:
        try:
            tls_context(str(certificate), str(key))
        except OSError as error:
            raise ConfigError(
                f"TLS_CERTIFICATE {certificate} and TLS_KEY {key} cannot be used ({error.strerror or error}); name two PEM"
                " files that belong together."
            ) from None


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn, set up by our settings alone: no configuration file, no command line of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.board = WorkerBoard()
        self.app = served_app(settings, self.board)
        super().__init__()

    def load_config(self) -> None:
        """Translate our settings into gunicorn's."""
        models = len(self.app.extensions["router"].models)
        for name, value in _gunicorn_settings(self.settings, models).items():
            self.cfg.set(name, value)

    def wsgi(self) -> Flask:
        """The application that workers start with: the newest one that was found right."""
        return self.app

    def run(self) -> None:
        """Serve until a signal ends it."""
        set_up_malloc()
        gc.freeze()  # what is loaded now stays shared between the workers
        RouterArbiter(self).run()


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Leaves format and destination to our own logging set-up."""

    def setup(self, cfg: object) -> None:  # noqa: ARG002 - gunicorn's form
        """Let gunicorn's lines go where all others go."""
        self.error_log.propagate = True


class RouterArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """The parent of the workers."""

    def spawn_worker(self) -> int:
        """Keep signals for a new worker until it heeds them; the arbiter's handlers, which it inherits, would lose them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)

    def handle_hup(self) -> None:
        """Read the models file again; if it is right, let each worker do the same."""
        fresh = reread_app(self.app.settings, self.app.board)
        if fresh is not None:
            self.app.app = fresh
            _log.info("models: %s", ", ".join(fresh.extensions["router"].models))
            self.kill_workers(signal.SIGHUP)

    def stop(self, graceful: bool = True) -> None:
        """End the workers: not ready first; closed to new connections after DRAIN_SECONDS; then finish and end."""
        if graceful:
            self.kill_workers(signal.SIGTERM)
            time.sleep(self.app.settings.drain_seconds)
            # Connections are refused from now on; a mere close would reset them later. In systemd's socket they wait for
            # the next router.
            for listener in () if self.systemd else self.LISTENERS:
                listener.shutdown(socket.SHUT_RDWR)
        super().stop(graceful)


def _gunicorn_settings(settings: Settings, models: int) -> dict[str, Any]:
    threads = settings.threads_for(models)
    return {
        "bind": settings.address,
        "workers": settings.workers,
        "worker_class": RouterWorker,
        "threads": threads,
        "preload_app": True,
        "logger_class": QuietLogger,
        "keepalive": math.ceil(settings.keep_alive),
        "timeout": _HEARTBEAT_SECONDS,
        "graceful_timeout": math.ceil(settings.drain_seconds + settings.stop_timeout),
        "certfile": str(settings.tls_certificate) if settings.tls_certificate else None,
        "keyfile": str(settings.tls_key) if settings.tls_key else None,
        "forwarded_allow_ips": ",".join(settings.trusted_proxies),
        "control_socket_disable": True,
        "when_ready": _announce,
        "child_exit": _forget_worker,
        "worker_connections": _most_connections(threads),
    }


def _forget_worker(_: RouterArbiter, worker: RouterWorker) -> None:
    forget_process(worker.pid)
    worker.forget()


def _most_connections(threads: int) -> int:
    """How many connections a worker may hold: a file each, besides those to model servers and all else it opens."""
    files, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST_CONNECTIONS
    if files < wanted:
        files = wanted if hard_limit == resource.RLIM_INFINITY else min(wanted, hard_limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard_limit))
    return max(2 * threads, min(_MOST_CONNECTIONS, files // 2))


def set_up_malloc() -> None:
    """Let threads share memory pools and keep what the next request needs."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)


def _announce(arbiter: RouterArbiter) -> None:
    settings = arbiter.app.settings
    scheme = "https" if settings.tls else "http"
    models = ", ".join(arbiter.app.app.extensions["router"].models)
    _log.info("listening on %s://%s; models: %s", scheme, settings.address, models)
    announce(settings)
