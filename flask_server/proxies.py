"""Behind a proxy: whom the request is from, as the proxy says, if it is one of ours."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask

    from flask_server.settings import Settings

_CLAIMS = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
)


class TrustedProxies:
    """WSGI middleware: believes `X-Forwarded-For`, `-Proto` and `-Host` from trusted addresses, drops them otherwise."""

    def __init__(
        self, wsgi_app: WSGIApplication, networks: tuple[IPv4Network | IPv6Network, ...]
    ) -> None:
        self._networks = networks
        self._direct = wsgi_app
        self._behind_proxy = ProxyFix(wsgi_app, x_for=1, x_proto=1, x_host=1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if self._trusts(environ.get("REMOTE_ADDR", "")):
            return self._behind_proxy(environ, start_response)
        for name in _CLAIMS:
            environ.pop(name, None)
        return self._direct(environ, start_response)

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        # Where IPv6 is listened on, an IPv4 address comes as ::ffff:10.0.0.1.
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._networks)


def init_app(app: Flask, settings: Settings) -> None:
    """Put the middleware in front of `app`.

    Raises:
        ConfigError: TRUSTED_PROXIES names something that is no address or network.
    """
    try:
        networks = tuple(ip_network(text) for text in settings.trusted_proxies)
    except ValueError as error:
        raise ConfigError(
            f"TRUSTED_PROXIES: {error}; write addresses or networks such as 10.0.0.0/8."
        ) from None
    app.wsgi_app = TrustedProxies(app.wsgi_app, networks)  # type: ignore[method-assign]
