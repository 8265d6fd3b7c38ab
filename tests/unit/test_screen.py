"""What of other processes' output is shown.

pytest tests/unit/test_screen.py
"""

from __future__ import annotations

import pytest

from i2i_core.errors import NonFiniteError
from i2i_core.orchestration.ray_compat import Printed, route_output
from i2i_core.orchestration.restarts import Restarts, is_of_another_process
from i2i_core.orchestration.screen import Screen

GLOG = "[2026-11-29 00:21:42,298 E 24422 24452] core_worker.cc:2465: Actor with class name: 'PreemptionWatcher' and ID"
PYTHON = "2026-11-29 00:25:01,073\tWARNING worker.py:2091 -- Warning: 288 PYTHON worker processes have been started"
OURS = "2026-11-29 00:21:49 faces[0] 104 / 600 images | 99 images/s"


def test_screen_prints_our_lines_without_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(Printed("RayTrainWorker", [OURS, "printed by a method"], is_error=False))
    assert capsys.readouterr().out == f"{OURS}\nprinted by a method\n"


def test_screen_leaves_out_lines_of_rays_own(capsys: pytest.CaptureFixture[str], said: list[str]) -> None:
    screen = Screen()
    for source in ("RayTrainWorker", "shard", "TrainController"):
        screen.show(Printed(source, [GLOG, PYTHON], is_error=True))
    screen.show(Printed("TrainController", ["Traceback (most recent call last):", "GetTimeoutError"], is_error=True))
    screen.show(Printed("raylet", ["Warning: The following resource request cannot be scheduled"], is_error=False))
    shown = capsys.readouterr()
    assert (shown.out, shown.err, said) == ("", "", [])


def test_screen_shows_a_warning_of_many_workers_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    for _ in range(3):
        screen.show(Printed("RayTrainWorker", ["UserWarning: nonsense"], is_error=True))
    assert capsys.readouterr().err == "UserWarning: nonsense\n"


def test_screen_says_what_the_autoscaler_does_and_who_was_short_of_memory(said: list[str]) -> None:
    screen = Screen()
    screen.show(Printed("autoscaler", ["Adding 2 node(s) of type gpu."], is_error=False))
    screen.show(Printed("raylet", ["3 Workers (tasks / actors) killed due to memory pressure (OOM)\nmore"], False))
    assert said == [
        "the cluster's autoscaler: Adding 2 node(s) of type gpu.",
        "WARNING: Ray ended workers, as a machine was short of memory: "
        "3 Workers (tasks / actors) killed due to memory pressure (OOM)",
    ]


def test_output_is_routed_by_the_functions_that_ray_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import worker

    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    found: list[Printed] = []
    route_output(found.append)
    batch = {"pid": 7, "actor_name": "RayTrainWorker", "ip": "10.0.0.1", "is_err": False, "lines": ["one", "two"]}
    worker.print_to_stdstream(batch, ignore_prefix=False)
    worker.print_to_stdstream({"lines": ["short"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert found == [Printed("RayTrainWorker", ["one", "two"], False), Printed("raylet", ["short"], False)]


def test_restarts_name_the_workers_that_were_lost(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i_core.logs.show", lambda level, run: None)
    restarts = Restarts("faces", "info", 3)
    restarts.after_exception(None, {1: ValueError("first line\nand the last")})
    (line,) = said
    assert line == (
        "WARNING: lost worker 1 (ValueError: and the last). All workers start again from the last checkpoint, up to 3 "
        "times (--max-failures)"
    )
    gone = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer")
    restarts.after_exception(None, {0: gone})
    assert "lost worker 0 (another worker left a sum over all workers)" in said.pop()
    loader = RuntimeError("DataLoader worker (pid(s) 25815) exited unexpectedly")
    assert is_of_another_process(gone)
    assert is_of_another_process(loader)
    assert is_of_another_process(ConnectionResetError(104, "Connection reset by peer"))
    assert not is_of_another_process(RuntimeError("Caught ValueError in DataLoader worker process 0."))
    restarts.after_exception(None, {0: NonFiniteError("which the driver prints")})
    assert len(said) == 1
