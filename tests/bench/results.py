"""Keep what a machine measured at a commit: one JSON file, whose rows are written one by one as they are measured.

`bench-output/MACHINE-COMMIT.json` holds `about` (machine, versions, flags) and `rows`. A row has its key (`bench` and
what it was measured of), `date`, `load` (processes that wanted a core in the minute before it), `took` (seconds), and
either `values` or `failed`, the reason.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from i2i_core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ("i2i_core", "tests/bench", "tests/support/methods.py")
"""The files whose state a commit stands for."""
Key = dict[str, str | int]
Values = dict[str, Any]
Row = dict[str, Any]


@dataclass
class Results:
    """The rows of one machine at one commit.

    Attributes:
        retry: measure again what failed.
        until: the moment (`time.monotonic`) from which on no further row is begun.
        left: keys that were not begun for that.
    """

    path: Path
    about: Values
    rows: list[Row] = field(default_factory=list)
    retry: bool = False
    until: float = float("inf")
    left: list[Key] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, about: Values, **options: Any) -> Results:
        """Go on with the file of this machine and commit, if there is one.

        Raises:
            ConfigError: its rows were measured with other versions or flags.
        """
        path = folder / f"{slug(about['machine'])}-{slug(about['commit'])}.json"
        if not path.exists():
            return cls(path, about, **options)
        saved = json.loads(path.read_text())
        if other := [name for name in about if saved["about"].get(name) != about[name]]:
            found, expected = (", ".join(f"{n} {of.get(n)}" for n in other) for of in (saved["about"], about))
            raise ConfigError(str(path), found, expected, "Move that file away, or give another --out.")
        return cls(path, about, saved["rows"], **options)

    def find(self, key: Key) -> Row | None:
        """Give the row of that key, or None."""
        return next((row for row in self.rows if row["key"] == key), None)

    def measure(self, key: Key, work: Callable[[], Values]) -> Values | None:
        """Run `work` and keep its values under the key, unless they are there; give them, or None where it failed.

        What `work` raises is kept as the reason, and the bench goes on; KeyboardInterrupt is not.
        """
        done = self.find(key)
        if done and not (self.retry and "failed" in done):
            return done.get("values")
        if time.monotonic() >= self.until:
            self.left.append(key)
            return None
        row: Row = {"key": key, "date": now(), "load": round(os.getloadavg()[0], 2)}
        began = time.monotonic()
        try:
            row["values"] = work()
        except Exception as error:
            row["failed"] = reason(error)
        row["took"] = round(time.monotonic() - began, 1)
        self.rows = [other for other in self.rows if other["key"] != key] + [row]
        self._write()
        print(shown(row), flush=True)
        free()
        return row.get("values")

    def of(self, bench: str) -> Iterator[Row]:
        """Go over the rows of one bench, failed ones too."""
        return (row for row in self.rows if row["key"]["bench"] == bench)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"about": self.about, "rows": self.rows}, indent=1) + "\n")
        new.replace(self.path)


def read(path: Path) -> Results:
    """Read a file of results. Raises ConfigError where it is none."""
    try:
        saved = json.loads(path.read_text())
        return Results(path, saved["about"], saved["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "Name a file under bench-output/, or run `make bench` first."
        raise ConfigError(str(path), reason(error), "a JSON file with `about` and `rows`", fix) from None


def about(device: str, commit: str = "") -> Values:
    """Describe this machine, the versions in use and the flags that change how fast a product of matrices is."""
    cuda = device == "cuda"
    return {
        "machine": torch.cuda.get_device_name() if cuda else processor(),
        "device": device,
        "gpus": torch.cuda.device_count() if cuda else 0,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "commit": commit or commit_of(ROOT),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def processor() -> str:
    """Name the CPU, as Linux knows it or as Python does."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def commit_of(root: Path) -> str:
    """Name the state of what is measured: the commit, with a checksum of the files where they differ from it, or that
    checksum alone where there is no git."""
    try:
        commit = _git(root, "rev-parse", "--short=10", "HEAD").strip()
        clean = not _git(root, "status", "--porcelain", "--", *MEASURED)
    except (OSError, subprocess.CalledProcessError):
        return f"files-{checksum(root)}"
    return commit if clean else f"{commit}-{checksum(root)}"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def checksum(root: Path) -> str:
    """Give eight digits that depend on what the measured files hold and on nothing else."""
    total = hashlib.sha256()
    for place in MEASURED:
        for file in sorted((root / place).rglob("*.py")) or [root / place]:
            total.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:8]


def slug(text: str) -> str:
    """Write a name so that it can be part of a file's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def reason(error: BaseException) -> str:
    """Put an error into one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def shown(row: Row) -> str:
    """Describe a row in one line."""
    named = " ".join(str(part) for part in row["key"].values())
    found = f"FAILED {row['failed']}" if "failed" in row else json.dumps(row["values"])
    return f"{named} ({row['took']} s): {found}"


def now() -> str:
    """Give the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def free() -> None:
    """Give back the memory of what was measured last."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
