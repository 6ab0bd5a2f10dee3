"""The model servers of this machine: for each a port that is kept, a configuration that is followed, and a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import ports, readiness
from supervisor.child import Child
from supervisor.plan import server_command
from supervisor.server_config import ServerConfig

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable

    from model_config import ModelConfig
    from supervisor.console import Console
    from supervisor.options import Options
    from supervisor.plan import ServerPlan


class ModelServers:
    """Starts, configures and retires them; the supervisor keeps the processes alive."""

    def __init__(self, options: Options, console: Console) -> None:
        self.children: dict[str, Child] = {}
        """The processes by their URLs."""
        self.retired: list[Child] = []
        """Those that are asked to end, since no model needs them any more."""
        self._options = options
        self._console = console
        self._reserved: dict[str, socket.socket] = {}
        self._configs: dict[str, ServerConfig] = {}

    def reserve(self, servers: Iterable[ServerPlan]) -> None:
        """Keep their ports, also while they are not there."""
        for server in servers:
            if server.url not in self._reserved:
                self._reserved[server.url] = ports.reserve(server.host, server.port)

    def serve(self, server: ServerPlan, models: Collection[ModelConfig]) -> None:
        """Let a server serve these of its models, and no others; it is started with the first of them."""
        if not models:
            if server.url in self._configs:  # it serves versions that fit no table any more
                self._configs[server.url].serve(())
            return
        if server.url not in self._configs:
            # By its port, for while one is replaced there are two of a name.
            path = self._options.state_dir / f"server_{server.port}.config"
            self._configs[server.url] = ServerConfig(path, server.url, self._console.say)
        config = self._configs[server.url]
        config.serve(models)
        known = self.children.get(server.url)
        if known is None or known.given_up:
            child = Child(server_command(server, self._options, config.path), self._console)
            self.children[server.url] = child
            child.start()

    def is_settled(self, server: ServerPlan, models: Iterable[ModelConfig]) -> bool:
        """Whether it has these models ready, or need not be waited for."""
        child = self.children.get(server.url)
        return (
            child is None
            or child.given_up is not None
            or all(self._is_settled(server.url, model) for model in models)
        )

    def _is_settled(self, url: str, model: ModelConfig) -> bool:
        hopeless = model.name in self._configs[url].unloadable
        return hopeless or bool(readiness.available_versions(url, model.servable))

    def unloadable(self) -> dict[str, str]:
        """The names of models of which no version can be loaded; and why."""
        return {
            name: why
            for config in self._configs.values()
            for name, why in config.unloadable.items()
        }

    def heed(self, child: Child) -> None:
        """Hear why one has ended, before it is started again."""
        for url, known in self.children.items():
            if known is child:
                self._configs[url].heed(child.last_lines())

    def follow(self) -> None:
        """Tell them which versions to load, as people move labels and add versions."""
        for config in self._configs.values():
            config.follow()

    def unneeded(self, servers: Iterable[ServerPlan]) -> set[str]:
        """The URLs of those that are not among these."""
        return set(self._reserved) - {server.url for server in servers}

    def retire(self, urls: Iterable[str]) -> None:
        """Ask them to finish what they have, and to end."""
        for url in urls:
            if child := self.children.pop(url, None):
                child.ask_to_end()
                self.retired.append(child)
            self._configs.pop(url, None)
            self._reserved.pop(url).close()
