"""Kill whole runs with SIGKILL at random moments, and see that the results are the same in the end.

    python benchmarks/staying_power.py --kills 25

1. An undisturbed run of the tiny profile gives the result files to compare with, and its length in time.
2. From nothing, runs are killed, each with all its children, after a random time. Where one ends before that,
   everything is removed and it begins from nothing again, until there were as many kills as asked for.
3. The next run is left alone. Its result files must equal those of the first, byte for byte.
4. From nothing, two runs at once on the same folder: both must end well, with the same result files.
5. From nothing, on a disk of half a megabyte that is made larger by a quarter whenever a run says that it is
   full: every such run must say so in one line, and the last must end with the same result files. Then the
   disk cannot be written, and a run must say that. Needs Linux, where a process may mount a disk of its own.

Everything lies in `artifacts/staying-power/`, which is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256

from dpotox.places import PROJECT
from dpotox.results.folder import CLAIMS, FILES, RECORD

PROFILE = PROJECT / "artifacts" / "staying-power.toml"
MADE = PROJECT / "artifacts" / "staying-power"


def start() -> subprocess.Popen:
    """A run in a process group of its own, so that its notebooks' kernels are killed with it."""
    command = [sys.executable, "-m", "dpotox.run.book", "--profile", str(PROFILE), "--no-pages"]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> None:
    """Wait for a run that must end well."""
    _, said = process.communicate()
    if process.returncode:
        sys.exit(f"a run failed with status {process.returncode}:\n{said[-2_000:]}")


def kill_after(seconds: float) -> str | None:
    """Start a run and kill it; returns what it was doing, None if it had ended by itself."""
    process = start()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[1].splitlines()
        return next((line for line in reversed(said) if line.startswith("making ")), "starting")
    if process.returncode:
        sys.exit(f"a run failed after a kill:\n{process.stderr.read()[-2_000:]}")
    return None


def results() -> dict[str, str]:
    """The result files of the study by their content, without the record, which tells dates and times."""
    folder = MADE / "seed0" / "results"
    made = [folder / name for name in (CLAIMS, *FILES) if name != RECORD]
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in made if p.is_file()}


def differing(expected: dict[str, str]) -> list[str]:
    found = results()
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def on_small_disk(expected: dict[str, str]) -> int:
    """Runs on a disk that fills up; in a process whose mounts nobody else sees. Returns the exit status."""
    profile, size, full = PROFILE.read_text(), 500_000, Counter()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    PROFILE.write_text(profile)
    while (ended := run_once())[0]:
        status, during, said = ended
        if status != 1 or "disk is full" not in said or "Traceback" in said:
            print(f"a run on a full disk ended with status {status}: {said}")
            return 1
        full[during] += 1
        size = size * 5 // 4
        mount("-o", f"remount,size={size}")
    wrong = differing(expected)
    print(f"{full.total()} runs on a full disk said so, {size / 1e6:.1f} MB suffice")
    print(f"they were at: {full.most_common()}")
    print(f"result files that differ afterwards: {wrong or 'none'}", flush=True)
    shutil.rmtree(MADE / "seed0" / "table1")
    mount("-o", "remount,ro")
    status, _, said = run_once()
    print(f"on a disk that cannot be written, status {status}: {said}")
    return int(bool(wrong) or status != 1 or "permissions" not in said)


def run_once() -> tuple[int, str, str]:
    """One run to its end: status, what it was making, and its last line."""
    process = start()
    said = process.communicate()[1].splitlines()
    during = next((line for line in reversed(said) if line.startswith("making ")), "starting")
    return process.returncode, during, "Traceback" if "Traceback" in str(said) else said[-1]


def mount(*options: str) -> None:
    """Mount a disk in place of the artifacts, or change it."""
    subprocess.run(["mount", *options, PROFILE.parent], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--on-small-disk", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.on_small_disk:
        return on_small_disk(json.load(sys.stdin))
    rng, during, removed = random.Random(arguments.seed), Counter(), 0
    PROFILE.parent.mkdir(exist_ok=True)
    shutil.copyfile(PROJECT / "tests" / "tiny.toml", PROFILE)
    shutil.rmtree(MADE, ignore_errors=True)
    began = time.monotonic()
    finish(start())
    length, expected = time.monotonic() - began, results()
    print(f"undisturbed: {length:.0f} s, {len(expected)} result files", flush=True)
    shutil.rmtree(MADE)
    while sum(during.values()) < arguments.kills:
        was = kill_after(rng.uniform(0, length / 2))
        if was is None:
            shutil.rmtree(MADE)
            removed += 1
        else:
            during[was] += 1
            print(f"kill {sum(during.values())}: {was}", flush=True)
    finish(start())
    wrong = differing(expected)
    print(f"{arguments.kills} kills, {removed} complete runs between them; after: {during.most_common()}")
    print(f"result files that differ afterwards: {wrong or 'none'}", flush=True)
    shutil.rmtree(MADE)
    two = [start(), start()]
    for process in two:
        finish(process)
    both = differing(expected)
    print(f"result files that differ after two runs at once: {both or 'none'}", flush=True)
    shutil.rmtree(MADE)
    command = ["unshare", "--map-root-user", "--mount", sys.executable, __file__, "--on-small-disk"]
    small = subprocess.run(command, input=json.dumps(expected), text=True, check=False).returncode
    PROFILE.unlink()
    return int(bool(wrong or both or small))


if __name__ == "__main__":
    sys.exit(main())
