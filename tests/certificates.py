"""Certificates that vouch for themselves."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def self_signed(folder: Path, alternative_name: str) -> tuple[Path, Path]:
    """Make a certificate, for a name such as `IP:127.0.0.1`, and its key: two PEM files."""
    made = (folder / "certificate.pem", folder / "key.pem")
    names = ["-subj", "/CN=test", "-addext", f"subjectAltName={alternative_name}"]
    files = ["-out", str(made[0]), "-keyout", str(made[1])]
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *names, *files], check=True, capture_output=True
    )
    return made
