"""The trained models that some tests need, where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.processes import ROOT

ZOO = Path(os.environ.get("ZOO_DIR") or ROOT.parent / "shared" / "zoo")
needs_zoo = pytest.mark.skipif(not (ZOO / "expected.json").is_file(), reason=f"no zoo in {ZOO}")
