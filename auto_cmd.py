#!/usr/bin/env python3
"""The supervisor: one command that prepares, starts, watches and stops the model servers and the router.

python auto_cmd.py                     every model of models.toml
python auto_cmd.py --only digits       one of them
python auto_cmd.py --check             say what would be done
"""

from __future__ import annotations

import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the supervisor listens, Ctrl-C just ends it

from model_config import ConfigError, load_deployment
from supervisor import report
from supervisor.console import Console
from supervisor.options import absolute_paths, read_options
from supervisor.plan import check_ports, make_plan
from supervisor.state_files import only_one
from supervisor.supervisor import Supervisor


def main() -> int:
    """Run until stopped; return the exit status."""
    try:
        # For every child, too: they run in the project's folder.
        os.environ.update(absolute_paths())
        options = read_options()
        plan = make_plan(load_deployment(options.models_file), options)
        if options.check:
            print(report.check(plan, options))
            return 0
        check_ports(plan, options)
        with only_one(options.state_dir):
            console = Console(options.logs_dir)
            try:
                return Supervisor(plan, options, console).run()
            finally:
                console.close()
    except ConfigError as error:
        print(f"auto_cmd.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
