"""serve.py as a person starts it, and its memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .processes import MARK, ROOT, Process, with_environment

STARTS_WITHIN = 300


@dataclass
class Program:
    """A serve.py that runs."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    url: str = ""

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def processes(self, kind: str = "") -> list[Process]:
        """It, and all that came of it; or those with a word in their command."""
        return [one for one in with_environment(MARK, self.mark) if kind in one.command]

    def resident(self) -> int:
        """Bytes of memory that its own processes hold: HTTP's and the models'."""
        pages = 0
        for one in self.processes("ray::"):
            if "Proxy" in one.command or "ServeReplica" in one.command:
                with suppress(OSError, ValueError):
                    pages += int(Path(f"/proc/{one.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def interrupt(self, number: int = signal.SIGINT) -> int:
        """End it as a person does; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(120)


@contextmanager
def serving(log: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Program]:
    """Start serve.py at a free port, and wait until it answers.

    Raises:
        RuntimeError: it ended before, or took too long.
    """
    mark = f"serve-{os.getpid()}-{time.monotonic_ns()}"
    own = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    own |= {MARK: mark, "RAY_USAGE_STATS_ENABLED": "0", **(env or {})}
    command = [sys.executable, str(ROOT / "pipelines/serve.py"), *arguments, "--port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=own, cwd=ROOT)
    program = Program(process, mark, log)
    try:
        began = time.monotonic()
        while "Ctrl-C ends it" not in program.text():
            if process.poll() is not None or time.monotonic() - began > STARTS_WITHIN:
                raise RuntimeError(program.text()[-4000:])
            time.sleep(0.1)  # between two looks
        found = re.search(r"page: (http://\S+?/)(#\S+)?$", program.text(), re.MULTILINE)
        assert found, program.text()
        program.url = found[1]
        yield program
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for one in program.processes():
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
