"""Are the newest versions that `requirements.txt` admits any good?

    python3.11 tests/update.py

They are installed in an environment of their own, `.venv/update`, and the tests run with them: first the
contracts, which name what has changed in a library, then all. If all pass, the versions are written to
`artifacts/update/constraints.txt`; `constraints.txt` itself is left to whoever looks at them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv" / "update"
WRITTEN = Path("artifacts") / "update" / "constraints.txt"
HEAD = "# Every package of the environment, exactly; requirements.txt names the ones used directly."
LOCK_TEST = "tests/test_versions.py::test_the_environment_is_the_one_that_is_locked"


def pins(text: str) -> dict[str, str]:
    """Versions by name, of constraints or of pip's list, without what marks a build for some device."""
    pairs = (line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {name: version.partition("+")[0] for name, version in pairs}


def canonical(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub("[-_.]+", "-", name).lower()


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """A line for every package that has another version, is new, or is no longer needed."""
    old, new = ({canonical(name): version for name, version in some.items()} for some in (old, new))
    both = sorted(old.keys() | new.keys())
    return [f"{n} {old.get(n, 'none')} -> {new.get(n, 'none')}" for n in both if old.get(n) != new.get(n)]


def as_constraints(versions: dict[str, str]) -> str:
    """The text of `constraints.txt`."""
    lines = sorted((f"{name}=={version}" for name, version in versions.items()), key=str.casefold)
    return "\n".join([HEAD, *lines]) + "\n"


def installed() -> dict[str, str]:
    """Make the environment anew; its versions."""
    python = [str(ENVIRONMENT / "bin" / "python"), "-m"]
    pip = [*python, "pip", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
    subprocess.run([*pip, "install", "--quiet", "-r", "requirements.txt"], cwd=ROOT, check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--editable", "."], cwd=ROOT, check=True)
    listed = [*pip, "list", "--format=freeze", "--exclude-editable", "--exclude", "pip"]
    return pins(subprocess.run(listed, check=True, capture_output=True, text=True).stdout)


def tested(*arguments: str) -> bool:
    """Whether tests pass in that environment."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> str | None:
    """Returns what is wrong, if anything is."""
    print("installing the newest versions in .venv/update", flush=True)
    versions = installed()
    changed = changes(pins((ROOT / "constraints.txt").read_text()), versions)
    if not changed:
        print("nothing is newer than constraints.txt")
        return None
    print(*changed, sep="\n", flush=True)
    contracts = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_contracts_*.py"))
    if not tested(*contracts):
        return "error: a library no longer does what a contract above says; keep its version or mend its use"
    if not tested("--deselect", LOCK_TEST):
        return "error: a test fails with the versions above, though every contract holds"
    (ROOT / WRITTEN).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / WRITTEN).write_text(as_constraints(versions))
    print(
        f"all tests pass; to take the versions over:\n  cp {WRITTEN} constraints.txt\n  make lint test book"
    )
    return None


if __name__ == "__main__":
    sys.exit(main())
