"""Where things lie: the project, and what is made in it."""

import os
from pathlib import Path

PROJECT = Path(__file__).parents[2]
OUTPUT = Path(os.environ.get("DPOTOX_OUTPUT") or PROJECT).resolve()
"""The folder of `artifacts/` and `_build/`: the project's own, unless the environment names another."""
