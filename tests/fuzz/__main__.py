"""Fuzzes in processes of their own: see `tests/fuzz/__init__.py`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import torch

from i2i_core.errors import RunError, UserError

from .. import fuzz
from .kinds import KINDS, Kind

KEPT = Path(__file__).parents[1] / "inputs" / "fuzz"
"""Folder of the inputs that failed once."""
TEMPORARY = re.compile(re.escape(os.fsencode(tempfile.gettempdir())) + rb"/tmp\w{8}")
MOST = 1 << 60
PROGRAM = ["-m", "tests.fuzz"]
MEMORY = 2 << 30
"""Bytes of address space that a case may take beyond what the process has before."""
LOOKS_EVERY = 0.2
"""Seconds between two looks at the case that a process is at."""
SECONDS = 20.0
"""Seconds after which a case counts as hanging."""


def failure(kind: Kind, case: bytes) -> tuple[str, str] | None:
    """Read an input; where that fails, give the place in our code with the kind of error, and its whole text."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            kind.run(case)
    except (UserError, RunError, *kind.allowed):
        return None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/i2i_core/" in f.filename] or [None]
        last = frames[-1]
        place = f"{Path(last.filename).name}:{last.name}" if last else "?"
        return f"{type(error).__name__} at {place}", "".join(traceback.format_exception(error))[-3000:]
    return None


def keep(name: str, case: bytes, folder: Path = KEPT) -> Path:
    """Write an input that failed where the tests find it, without this machine's temporary folders."""
    folder.mkdir(parents=True, exist_ok=True)
    case = TEMPORARY.sub(b"", case)
    path = folder / f"{name}-{hashlib.sha256(case).hexdigest()[:12]}"
    path.write_bytes(case)
    return path


def work(name: str, seed: int, first: int, most: int, seconds: float, note: Path, kept: Path) -> None:
    """Run cases in this process until the time is over, or there are `most`.

    The note has the number and the input of the present one.
    """
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        kind = KINDS[name](Path(folder))
        for how, data in kind.healthy:
            assert not (wrong := failure(kind, how.encode() + b"\n" + data)), wrong
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
        end, seen, number = time.monotonic() + seconds, set(), first
        while time.monotonic() < end and number < most:
            case = kind.case(seed, number)
            note.write_bytes(f"{number}\n".encode() + case)
            if (wrong := failure(kind, case)) and wrong[0] not in seen:
                seen.add(wrong[0])
                print(json.dumps([str(keep(name, case, kept)), *wrong]), flush=True)
            number += 1
        print(json.dumps(number - first))


def watched(name: str, seed: int, seconds: float, kept: Path, most: int = MOST) -> tuple[int, list[str]]:
    """Run cases of a kind in processes, each until it dies, hangs, or the time is over. Count cases, list failures."""
    cases, failures, first, end = 0, [], 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        note, out = Path(folder) / "note", Path(folder) / "out"
        while time.monotonic() < end and first < most:
            left = str(max(0.0, end - time.monotonic()))
            command = [sys.executable, *PROGRAM, "--kind", name, "--seed", str(seed), "--seconds", left]
            command += ["--kept", str(kept), "--work", str(note), "--first", str(first), "--cases", str(most)]
            note.unlink(missing_ok=True)  # that of the process before tells nothing of this one
            with out.open("wb") as to:
                process = subprocess.Popen(command, stdout=to, stderr=subprocess.STDOUT, env=os.environ)
                how = ended(process, note)
            lines = out.read_text(errors="replace").splitlines()
            for line in lines:
                if line.startswith("["):
                    path, what, text = json.loads(line)
                    failures.append(f"{what}: {path}\n{text}")
            if not how:
                return cases + int(lines[-1]), failures
            if not note.exists():
                return cases, [*failures, f"{name} ended before its first case ({how}):\n" + "\n".join(lines[-20:])]
            number, _, case = note.read_bytes().partition(b"\n")
            failures.append(f"{how}: {keep(name, case, kept)}\n" + "\n".join(lines[-20:]))
            cases, first = cases + int(number) + 1 - first, int(number) + 1
    return cases, failures


def ended(process: subprocess.Popen[bytes], note: Path) -> str:
    """Wait for a process; kill it where one case takes too long. Say how it ended; nothing where all is well."""
    before, since = 0.0, time.monotonic()
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=LOOKS_EVERY)
        now = note.stat().st_mtime if note.exists() else 0.0
        if now != before:
            before, since = now, time.monotonic()
        elif before and time.monotonic() - since > SECONDS:
            process.kill()
            process.wait()
            return f"hang of more than {SECONDS:.0f} seconds"
    return f"exit code {process.returncode}" if process.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=fuzz.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="all", choices=["all", *KINDS])
    parser.add_argument("--seconds", type=float, default=60, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder for what fails")
    parser.add_argument("--cases", type=int, default=MOST, help="most of a kind")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.kind, given.seed, given.first, given.cases, given.seconds, given.work, given.kept)
        return 0
    kinds = [*KINDS] if given.kind == "all" else [given.kind]
    failed = 0
    for name in kinds:
        cases, failures = watched(name, given.seed, given.seconds / len(kinds), given.kept, given.cases)
        print(f"{name}: {cases:,} cases, {len(failures)} failed", *failures, sep="\n", flush=True)
        failed += len(failures)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
