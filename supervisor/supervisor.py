"""Start everything in order, keep it alive, stop it in order.

The loop is: wait for a wish, handle it, keep the children alive.
"""

from __future__ import annotations

import signal
import time
import traceback
from typing import TYPE_CHECKING

from model_config import ConfigError, digest_of, load_deployment
from supervisor import readiness, report, state_files
from supervisor.child import Child
from supervisor.model_servers import ModelServers
from supervisor.plan import make_plan, router_command
from supervisor.prepare import has_version, missing_versions, prepare_command
from supervisor.wishes import Reload, Stop, Wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from model_config import ModelConfig
    from supervisor.console import Console
    from supervisor.options import Options
    from supervisor.plan import Plan, ServerPlan
    from supervisor.prepare import Missing

TICK_SECONDS = 0.1
FOLLOW_SECONDS = 1.0
READY_SECONDS = 120.0
RELOAD_SECONDS = 30.0
HAND_OVER_SECONDS = 2.0
"""A request that the router had taken before it read the models file asks the old servers still, once its image is decoded."""
PREPARED_AT_ONCE = 2
GIVEN_UP = (
    "Its model server ended again and again and was given up: {}. Mend that, then send SIGHUP."
)
UNLOADABLE = "No version of it can be loaded: {}. It is tried again when the version changes."
BEING_MADE = "Its version is being made; it joins when that is done."
NOT_CHOSEN = (
    "It is not among the models that --only names; start it without --only, or name it there."
)


class Supervisor:
    """Owns the children: model servers, the router, and the programs that prepare versions."""

    def __init__(self, plan: Plan, options: Options, console: Console) -> None:
        self.plan = plan
        self.options = options
        self._console = console
        self._wishes = Wishes()
        self._reload_wanted = False
        self._servers = ModelServers(options, console)
        self._followed = 0.0
        self._preparing: list[Child] = []
        self._router: Child | None = None
        self._problems: dict[str, str] = {}
        self._unloadable: dict[str, str] = {}
        self._placed = True
        self._written = ""
        for name in (model.name for model in plan.models):
            console.reserve(name)

    def run(self) -> int:
        """Run until somebody wants it stopped; return the exit status."""
        self._wishes.listen()
        try:
            self._bring_up()
            while True:
                self._tick()
                if self._reload_wanted:
                    self._reload_wanted = False
                    self._reload()
        except Stop as stop:
            return stop.status
        finally:
            self._stop_all()

    def _tick(self) -> None:
        """Wait a moment for a wish, handle it, keep the children alive."""
        wish = self._wishes.next(TICK_SECONDS)
        if isinstance(wish, Stop):
            raise wish
        if isinstance(wish, Reload):
            self._reload_wanted = True
        self._keep_alive()
        self._follow()

    def _wait_until(self, condition: Callable[[], bool], seconds: float = READY_SECONDS) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._tick()
        return True

    # -- keeping alive -----------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        kept = (*self._servers.children.values(), *filter(None, [self._router]))
        for child in kept:
            if child.has_ended:
                self._bury(child)
        for child in (*kept, *self._preparing):
            child.start_when_due()

    def _bury(self, child: Child) -> None:
        status = child.exit_status
        child.bury()
        if child.given_up is None:
            self._console.say(f"{child.name} ended with status {status}; starting it again")
            self._servers.heed(child)
            return
        if child is self._router:
            self._console.say(
                f"{child.given_up}; without it nothing is served, so everything stops"
            )
            raise Stop(1)
        self._console.say(f"{child.given_up}; it is given up, the rest goes on")
        for server in self.plan.servers:
            if self._servers.children.get(server.url) is child:
                _, _, why = child.last_lines().rpartition("Failed to start server. Error: ")
                self._give_up(server, why or child.last_words())

    def _give_up(self, server: ServerPlan, last_words: str) -> None:
        problem = GIVEN_UP.format(last_words.rstrip("."))
        self._problems.update({model.name: problem for model in server.models})
        self._place()

    # -- starting ----------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        """Serve what has a version that fits its table; the others join when theirs is made. The table ends the start."""
        self._servers.reserve(self.plan.servers)
        missing = self._missing()
        self._problems = {model.name: BEING_MADE for each in missing for model in each.models}
        self._serve(self.plan.servers)
        self._router = Child(router_command(self.options, self._placement_file), self._console)
        self._router.start()
        self._wait_until(self._router_has_read)
        for made in self._prepare(missing):
            self._serve(s for s in self.plan.servers if any(m in made.models for m in s.models))
        self._wait_until(self._router_has_read, RELOAD_SECONDS)
        self._show()

    def _serve(self, servers: Iterable[ServerPlan]) -> None:
        """Start these servers where there is something to serve, wait until each is ready, say where they are."""
        able = [(server, [*filter(self._can_be_served, server.models)]) for server in servers]
        for server, models in able:
            self._servers.serve(server, models)
        self._wait_until(lambda: all(self._servers.is_settled(*each) for each in able))
        self._place()

    def _missing(self) -> list[Missing]:
        return missing_versions(model for server in self.plan.servers for model in server.models)

    def _prepare(self, waiting: list[Missing]) -> Iterator[Missing]:
        """Make the versions that are missing, a few at a time; each is told when it is there, or has failed."""
        running: list[tuple[Missing, Child]] = []
        while waiting or running:
            while waiting and len(running) < PREPARED_AT_ONCE:
                running.append((waiting[0], self._start_preparing(waiting.pop(0))))
            self._tick()
            for job in [job for job in running if job[1].has_ended]:
                running.remove(job)
                self._prepared(*job)
                yield job[0]

    def _start_preparing(self, missing: Missing) -> Child:
        self._console.say(f"{missing.maker.name}: {missing.reason}; making one that fits its table")
        child = Child(prepare_command(missing.maker, self.options.models_file), self._console)
        self._preparing.append(child)
        child.start()
        return child

    def _prepared(self, missing: Missing, child: Child) -> None:
        """Versions that do not fit their table are not served instead: their answers would be wrong."""
        self._preparing.remove(child)
        child.end()  # nor may what it has started live on
        for model in missing.models:
            self._problems.pop(model.name, None)
        if missing_versions(missing.models):
            problem = child.last_words()
            if has_version(missing.maker.base_path):
                problem = f"Its {missing.reason}. Change the table back, or mend this: {problem}"
            self._problems.update({model.name: problem for model in missing.models})

    def _can_be_served(self, model: ModelConfig) -> bool:
        return model.name not in self._problems and has_version(model.base_path)

    def _follow(self) -> None:
        """Each second: let the model servers follow what lies on disk, and write down what could not be written."""
        if time.monotonic() > self._followed + FOLLOW_SECONDS:
            self._followed = time.monotonic()
            self._servers.follow()
            if self._servers.unloadable() != self._unloadable or not self._placed:
                self._place()

    # -- telling -----------------------------------------------------------------------------------------------

    def _placement(self, model: ModelConfig) -> dict[str, object]:
        if model.name in self._problems:
            problem: dict[str, object] = {"problem": self._problems[model.name]}
            return problem | {"being_made": True} if BEING_MADE in problem.values() else problem
        if model.name in self._unloadable:
            return {"problem": UNLOADABLE.format(self._unloadable[model.name].rstrip("."))}
        upstream = self.plan.upstream(model)
        if not upstream:
            return {
                "problem": "No model server is started (--model-server none); give its table an 'upstream'."
            }
        return {"upstream": list(upstream)}

    @property
    def _placement_file(self) -> Path:
        return self.options.state_dir / state_files.PLACEMENT

    def _place(self) -> None:
        """Write down where each model is, and let a running router read it; what fails is tried again each second."""
        self._unloadable = self._servers.unloadable()
        placement = {model.name: self._placement(model) for model in self.plan.models}
        placement |= {name: {"problem": NOT_CHOSEN} for name in self.plan.left_out}
        try:
            state_files.write_placement(self._placement_file, placement)
        except OSError as error:  # a full disk
            if self._placed:
                self._console.say(f"{self._placement_file} cannot be written: {error.strerror}")
            self._placed = False
            return
        self._placed = True
        self._written = digest_of(self.options.models_file, self._placement_file)
        if self._router:
            self._router.signal(signal.SIGHUP)

    def _router_has_read(self) -> bool:
        """Whether all its workers answer by the placement, and by the models file as it was when that was written."""
        return readiness.router_configuration(self.options.router_url) == self._written

    def _row(self, model: ModelConfig) -> report.ModelRow:
        route = f"{self.options.router_url}/{model.name}/predict/"
        upstream = self.plan.upstream(model)
        problem = self._placement(model).get("problem")
        if problem:
            return report.ModelRow(model.name, route, "UNAVAILABLE", "-", str(problem))
        versions = [
            v for url in upstream for v in readiness.available_versions(url, model.servable)
        ]
        state = f"AVAILABLE (version {max(versions)})" if versions else "NOT READY"
        return report.ModelRow(model.name, route, state, ", ".join(upstream))

    def _show(self) -> None:
        rows = [self._row(model) for model in self.plan.models]
        self._console.block(report.table(rows))
        self._console.block(report.example(rows, self.options))

    # -- following the file ------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """Add, change and remove models as the file now says; a bad file changes nothing."""
        try:
            deployment = load_deployment(self.options.models_file)
            self.plan = make_plan(deployment, self.options, before=self.plan)
        except ConfigError as error:
            self._console.say(f"The models file is not taken over: {error}")
            return
        except Exception:  # noqa: BLE001 - what serves must not end by a file that is wrong
            for line in (
                "The models file is not taken over:",
                *traceback.format_exc().splitlines(),
            ):
                self._console.say(line)
            return
        self._servers.reserve(self.plan.servers)
        self._problems.clear()
        for _ in self._prepare(self._missing()):
            pass  # together, and before the router reads the tables that they are made for
        self._serve(self.plan.servers)
        if not self._wait_until(self._router_has_read, RELOAD_SECONDS):
            self._console.say("The router has not taken the models file over; its lines say why.")
        elif unneeded := self._servers.unneeded(self.plan.servers):
            self._wait_until(lambda: False, HAND_OVER_SECONDS)
            self._retire(unneeded)
        self._show()

    def _retire(self, urls: Iterable[str]) -> None:
        """Stop the model servers that no model needs any more; requests that are still there may finish."""
        self._servers.retire(urls)
        retired = self._servers.retired
        self._wait_until(lambda: not any(child.is_running for child in retired), _patience(retired))
        while retired:
            retired.pop().end()

    # -- stopping ----------------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """The router first, so that requests in flight still find their model servers."""
        self._console.say("stopping; press Ctrl-C again to stop at once")
        self._stop_children(self._preparing)
        if self._router:
            self._stop_children([self._router])
        self._stop_children([*self._servers.children.values(), *self._servers.retired])
        self._console.say("all stopped")

    def _stop_children(self, children: list[Child]) -> None:
        """Ask all of them at once, then wait for each; a person's second wish to stop ends the patience."""
        deadline = time.monotonic() + _patience(children)
        for child in children:
            child.ask_to_end()
        while any(child.is_running for child in children) and time.monotonic() < deadline:
            wish = self._wishes.next(TICK_SECONDS)
            if isinstance(wish, Stop) and wish.is_a_persons:
                break
        for child in children:
            child.end()


def _patience(children: Iterable[Child]) -> float:
    """As long as the slowest of them may take to end."""
    return max((child.command.stop_seconds for child in children), default=0.0)
