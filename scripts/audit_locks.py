"""Ask the advisory service (PyPI's) whether a package that an image installs has a known vulnerability."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_config import PROJECT
from scripts.command_line import UserError, run

LOCKS = PROJECT / "deploy" / "docker"
EPILOG = "Exit status: 1 when a vulnerability is known, 3 when the service did not answer."


class NobodyAskedError(UserError):
    """The advisory service did not answer: nothing is known, which is no all-clear and no finding."""

    status = 3


def main() -> None:
    """Audit every lock; end with an error if a vulnerability is known, or if nobody could be asked."""
    argparse.ArgumentParser(description=__doc__, epilog=EPILOG).parse_args()
    found: set[str] = set()
    unasked: list[NobodyAskedError] = []
    for lock in sorted(LOCKS.glob("*.lock")):
        try:
            found.update(audit(lock))
        except NobodyAskedError as error:
            unasked.append(error)
    for finding in sorted(found):
        print(finding)
    if found:
        raise UserError("Packages above have known vulnerabilities; raise them with: make locks")
    if unasked:
        raise unasked[0]
    print("No known vulnerability in the locked packages.")


def audit(lock: Path) -> list[str]:
    """One line for each known vulnerability of a locked package.

    Raises:
        NobodyAskedError: The service did not answer for every package.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--strict"]
    command += ["--progress-spinner", "off", "--format", "json", "--requirement", str(lock)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        packages = json.loads(result.stdout)["dependencies"]
    except ValueError:
        reason = (
            (result.stderr.strip() or "no answer")
            .splitlines()[-1]
            .removeprefix("ERROR:pip_audit._cli:")
        )
        raise NobodyAskedError(
            f"{lock.name} could not be audited, so nothing is known of it ({reason}); run this where the advisory"
            " service can be reached."
        ) from None
    return [
        f"{package['name']} {package['version']}: {finding['id']}"
        for package in packages
        for finding in package["vulns"]
    ]


if __name__ == "__main__":
    run(main)
