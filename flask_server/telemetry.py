"""Whether requests are traced with OpenTelemetry: when its packages are installed and its environment variables set."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from typing import TYPE_CHECKING

from model_config import command_to_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PACKAGES = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}
_log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Trace the requests of `app`, if that is wanted and possible."""
    if not wanted(os.environ):
        return
    missing = [package for module, package in _PACKAGES.items() if not _installed(module)]
    if missing:
        install = command_to_type("-m", "pip", "install", *missing)
        _log.warning("requests are not traced; for that type: %s", install)
        return
    # An optional dependency: what imports it is imported only where it is there.
    tracing = importlib.import_module("flask_server.tracing")
    tracing.init_app(app, tracing.tracer)


def wanted(env: Mapping[str, str]) -> bool:
    """Whether the environment names a collector and does not switch tracing off."""
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if env.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return any(env.get(name) for name in _ENDPOINTS)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
