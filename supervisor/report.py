"""What the supervisor shows a person: the table of models, an example to try, and what `--check` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_config import PROJECT, command_to_type
from supervisor.prepare import missing_versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.options import Options
    from supervisor.plan import Plan

SAMPLE_REQUEST = PROJECT / "scripts" / "flask_sample_request.py"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the table."""

    model: str
    route: str
    state: str
    upstream: str
    problem: str | None = None


def table(rows: Sequence[ModelRow]) -> str:
    """Columns wide enough for their longest cell; under a model without a server, why it has none."""
    header = ModelRow("MODEL", "ROUTE", "STATE", "MODEL SERVER")
    cells = [(row.model, row.route, row.state, row.upstream) for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    problems = [f"\n{row.model} is not served: {row.problem}" for row in rows if row.problem]
    return "\n".join(["", *lines, *problems])


def example(rows: Sequence[ModelRow], options: Options) -> str:
    """A command that works now, and how to stop."""
    ready = [row.model for row in rows if row.state.startswith("AVAILABLE")]
    if not ready:
        return "\nNo model is available; what is missing stands above. Type exit or q, or press Ctrl-C, to stop.\n"
    picture = PROJECT / "test_images" / "digit_7.png" if ready[0] == "digits" else "IMAGE"
    url = () if options.router_url == "http://127.0.0.1:5000" else ("--url", options.router_url)
    words = ("-i", picture, "--model", ready[0], *url)
    return (
        f"\nTry it:   {command_to_type(SAMPLE_REQUEST, *words)}\n"
        f"Browse:   {options.router_url}/\n"
        "Stop:     type exit or q, or press Ctrl-C\n"
    )


def check(plan: Plan, options: Options) -> str:
    """What would be done."""
    lines = []
    served_here = [model for server in plan.servers for model in server.models]
    missing = {model.name: each for each in missing_versions(served_here) for model in each.models}
    for model in plan.models:
        where = ", ".join(plan.upstream(model)) or "no model server: give the table an 'upstream'"
        lines.append(f"{model.name}: {options.router_url}/{model.name}/predict/ -> {where}")
        if model.name in missing:
            lines.append(f"  {missing[model.name].reason}: would {missing[model.name].work}")
    lines += [
        f"model server {s.name} at {s.url}: {', '.join(m.servable for m in s.models)}"
        for s in plan.servers
    ]
    return "\n".join([*lines, f"router at {options.router_url}"])
