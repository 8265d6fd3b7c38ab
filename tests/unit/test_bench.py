"""Check what the benches keep, count and show; no time is judged here.

pytest tests/unit/test_bench.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from i2i_core.errors import ConfigError
from i2i_core.methods import build_method

from ..bench import bare, running, table, workers
from ..bench.bare import Bare, Case, Effort
from ..bench.peak import fastest, flops_of, measure_peak, product, share
from ..bench.results import Results, about, checksum, commit_of, read, slug
from ..support.workers import on_workers

ABOUT = {"machine": "Some CPU (R)", "commit": "abc123", "torch": "2.14.1", "device": "cpu"}
QUICK = Effort(rounds=1, seconds=0.0, warm_up=1)
KEY = {"bench": "update", "method": "pix2pix"}


def fails() -> dict[str, Any]:
    """Run out of memory, as CUDA does."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")


# ---- results ----


def test_results_restarted_skip_finished_rows(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> dict[str, Any]:
        calls.append(1)
        return {"seconds": len(calls)}

    first = Results.open(tmp_path, ABOUT)
    assert first.measure(KEY, work) == {"seconds": 1}
    again = Results.open(tmp_path, ABOUT)
    assert again.measure(KEY, work) == {"seconds": 1}
    assert again.measure({**KEY, "batch": 2}, work) == {"seconds": 2}, "another key is another row"
    assert [row["key"] for row in read(first.path).rows] == [KEY, {**KEY, "batch": 2}]


def test_results_of_another_commit_begin_anew(tmp_path: Path) -> None:
    Results.open(tmp_path, ABOUT).measure(KEY, lambda: {"seconds": 1})
    other = Results.open(tmp_path, {**ABOUT, "commit": "def456"})
    assert other.measure(KEY, lambda: {"seconds": 2}) == {"seconds": 2}
    assert len([*tmp_path.glob("*.json")]) == 2


def test_results_keep_reason_of_failed_row_and_go_on(tmp_path: Path) -> None:
    results = Results.open(tmp_path, ABOUT)
    assert results.measure(KEY, fails) is None
    assert results.measure({"bench": "peak"}, lambda: {"fp32": 1}) == {"fp32": 1}
    failed, good = read(results.path).rows
    assert failed["failed"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert "values" not in failed
    assert good["values"] == {"fp32": 1}


def test_results_measure_failed_row_again_only_when_asked(tmp_path: Path) -> None:
    Results.open(tmp_path, ABOUT).measure(KEY, fails)
    assert Results.open(tmp_path, ABOUT).measure(KEY, lambda: {"seconds": 1}) is None
    retried = Results.open(tmp_path, ABOUT, retry=True)
    assert retried.measure(KEY, lambda: {"seconds": 1}) == {"seconds": 1}
    (row,) = read(retried.path).rows
    assert "failed" not in row


def test_results_survive_interrupted_row(tmp_path: Path) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    results = Results.open(tmp_path, ABOUT)
    results.measure(KEY, lambda: {"seconds": 1})
    with pytest.raises(KeyboardInterrupt):
        results.measure({"bench": "peak"}, interrupted)
    assert [row["key"] for row in Results.open(tmp_path, ABOUT).rows] == [KEY]


def test_results_begin_no_row_past_their_time(tmp_path: Path) -> None:
    results = Results.open(tmp_path, ABOUT, until=0.0)
    assert results.measure(KEY, lambda: {"seconds": 1}) is None
    assert results.left == [KEY]
    assert not results.path.exists()


def test_results_refuse_rows_of_other_versions(tmp_path: Path) -> None:
    Results.open(tmp_path, ABOUT).measure(KEY, lambda: {"seconds": 1})
    with pytest.raises(ConfigError, match=r"found torch 2\.14\.1; expected torch 2\.12\.0"):
        Results.open(tmp_path, {**ABOUT, "torch": "2.12.0"})


def test_results_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ConfigError, match="a JSON file with `about` and `rows`"):
        read(tmp_path / "x.json")


@pytest.mark.processes
def test_commit_names_state_of_files(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        given = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(given, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    for name in ("i2i_core/a.py", "tests/bench/b.py", "tests/support/methods.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    bare_tree = commit_of(tmp_path)
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    head = git("rev-parse", "--short=10", "HEAD")
    assert commit_of(tmp_path) == head
    (tmp_path / "README.md").write_text("words")
    assert commit_of(tmp_path) == head, "no part of what is measured"
    (tmp_path / "i2i_core/a.py").write_text("2")
    assert commit_of(tmp_path) == f"{head}-{checksum(tmp_path)}"
    assert bare_tree.startswith("files-")
    assert bare_tree.removeprefix("files-") != checksum(tmp_path)


def test_slug_keeps_names_apart_and_paths_whole() -> None:
    assert slug("AMD EPYC 9B14 (96 cores) / 2") == "AMD-EPYC-9B14-96-cores-2"


# ---- peak ----


def test_peak_share_is_rate_over_peak() -> None:
    assert product(8192) == 1_099_511_627_776
    assert share(flops=3e12, seconds=0.5, peak=24e12) == 0.25
    assert fastest({"side": 4096, "bf16": 2e12, "fp32": 3e12}) == 3e12


def test_peak_counts_operations_of_its_product(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("tests.bench.peak.SIDES", {"cpu": 8})
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks) / 2)
    assert measure_peak("cpu", rounds=2) == {"side": 8, "bf16": 2048, "fp32": 2048}


def test_flops_of_convolution_and_its_backward() -> None:
    x, w = torch.randn(3, 5, 8, 8), torch.randn(7, 5, 3, 3, requires_grad=True)
    one = 2 * 3 * 6 * 6 * 7 * 5 * 3 * 3  # an output pixel is 5 * 3 * 3 products and as many sums
    assert flops_of(lambda: F.conv2d(x, w)) == one
    assert flops_of(lambda: F.conv2d(x, w).sum().backward()) == 2 * one, "x asks for no gradient"


def test_flops_of_gradient_penalty() -> None:
    """Take the gradient of a gradient by a leaf, which torch's tracker of modules refuses."""
    layer = torch.nn.Linear(5, 1, bias=False)

    def penalty() -> None:
        x = torch.randn(3, 5, requires_grad=True)
        (gradient,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
        gradient.pow(2).sum().backward(inputs=[layer.weight])

    one = 2 * 3 * 5
    assert flops_of(lambda: layer(torch.randn(3, 5))) == one
    # y = x w, then the gradient y' w; then, of y' w: by w and by y', and of y = x w: by w
    assert flops_of(penalty) == 5 * one


# ---- the bare step ----


def test_compare_measures_plain_beside_option() -> None:
    case = Case("stargan", "demo", 2)
    found = bare.compare(case, "channels_last", "cpu", QUICK)
    assert found["options"] == ["channels_last"]
    n_critic = build_method("stargan", "demo").config.n_critic
    assert n_critic > 1
    for side in ("plain", "fast"):
        images = found[side]["images_per_second"] * found[side]["seconds"]
        assert images == pytest.approx(n_critic * case.batch), "images served by one update"
        assert found[side]["seconds_by_player"].keys() == {"D", "G"}
        assert sum(found[side]["seconds_by_player"].values()) <= found[side]["seconds"]
        assert found[side]["start_seconds"] >= 0
    assert found["flops"] > 0


def test_compare_measures_plain_alone_where_nothing_is_on() -> None:
    found = bare.compare(Case("pix2pix", "demo", 1), "off", "cpu", QUICK)
    assert found["options"] == []
    assert "fast" not in found


def test_flops_of_update_grow_with_batch() -> None:
    one, three = (bare.compare(Case("pix2pix", "demo", b), "off", "cpu", QUICK)["flops"] for b in (1, 3))
    assert three == 3 * one


def test_effort_shortens_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    effort = Effort(rounds=5, seconds=1.0, most=20.0)
    assert [effort.updates(length) for length in (1e-6, 0.3, 7.0)] == [bare.MOST_UPDATES, 3, 1]
    for of_round, rounds in ((0.0, 5), (8.0, 3), (30.0, 2)):
        clock = [0.0]
        monkeypatch.setattr("time.monotonic", lambda clock=clock: clock[0])
        done = 0
        for _ in effort.spend():
            clock[0] += of_round
            done += 1
        assert done == rounds


def test_largest_batch_is_last_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make memory short by hand: a CPU has no limit that could be met here."""
    made = Bare.of

    def short(case: Case, fast: Any, device: str) -> Bare:
        if case.batch > 5:
            fails()
        return made(case, fast, device)

    monkeypatch.setattr(Bare, "of", short)
    monkeypatch.setattr(bare, "LONGEST", float("inf"))
    assert bare.largest(Case("pix2pix", "demo", 1), "cpu") == {"batch": 4, "ended_by": "memory"}
    with pytest.raises(torch.OutOfMemoryError):
        bare.largest(Case("pix2pix", "demo", 6), "cpu")
    assert bare.is_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not bare.is_memory(RuntimeError("index out of range"))
    monkeypatch.setattr(bare, "LONGEST", 0.0)
    assert bare.largest(Case("pix2pix", "demo", 1), "cpu") == {"batch": 1, "ended_by": "time"}


def test_possible_options_leave_out_what_one_worker_on_cpu_cannot() -> None:
    found = bare.possible("cpu")
    assert {"bf16", "channels_last"} <= {*found}
    assert not {"graphs", "bf16_sums"} & {*found}


@pytest.mark.processes
def test_bare_step_imports_torch_and_numpy_alone() -> None:
    """Import it in a process where importing anything else of the requirements fails."""
    code = (
        "import sys\n"
        "others = 'ray webdataset tyro optuna s3fs fsspec pyarrow matplotlib PIL torchvision tqdm scipy'.split()\n"
        "for name in [*others, *'yaml safetensors tensorboard torchmetrics torch_fidelity'.split()]:\n"
        "    sys.modules[name] = None\n"
        "import tests.bench.__main__, tests.bench.workers\n"
        "from tests.bench.bare import Bare, Case, Fast\n"
        "print(Bare.of(Case('simgan', 'demo', 1), Fast(), 'cpu').update(1) > 0)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout.strip() == "True", done.stderr


# ---- workers and the loop ----


@pytest.mark.slow
@pytest.mark.processes
def test_workers_share_global_batch_and_leave_sums_out() -> None:
    found = on_workers(2, workers.timed, Case("pix2pix", "demo", 4), "cpu", QUICK)
    for values in found:
        assert values["images_per_second"] * values["seconds"] == pytest.approx(4)
        assert values["exposed"] == pytest.approx(values["seconds"] - values["seconds_without_sums"])
    weights = on_workers(2, moved, Case("pix2pix", "demo", 4))
    assert torch.equal(*(mine["summed"] for mine in weights)), "workers agree"
    assert not torch.equal(*(mine["apart"] for mine in weights)), "each goes its own way"


def moved(world: Any, case: Case) -> dict[str, torch.Tensor]:
    """Give a weight after an update with sums over workers and one without."""
    found = {}
    for name, side in workers.sides_of(world, case, "cpu").items():
        side.update()
        found[name] = next(side.step.method.parameters()).detach().clone()
    return found


def test_loop_is_timed_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROUNDS", 1), ("SECONDS", 0.0), ("CHARACTERS", 20)):
        monkeypatch.setattr(running, name, value)
    found = running.loop_beside_step("pix2pix", tmp_path, "cpu")
    assert found["ratio"] == pytest.approx(found["loop"] / found["bare"])
    assert 0 <= found["data_wait"] <= 1
    assert not [*tmp_path.rglob("checkpoints/*")], "no run came to its end"


def test_clock_leaves_first_batches_out() -> None:
    clock = running.Clock(4, "cpu", asked=[0.0, 10.0, 20.0, 22.0, 24.0], waited=[9.0, 9.0, 0.5, 0.5])
    assert clock.between(2) == (4.0, 0.25)


def test_clock_ends_loop_after_its_batches() -> None:
    clock = running.Clock(3, "cpu")
    with pytest.raises(running.Enough):
        list(clock.through(iter("abcdef")))  # type: ignore[arg-type]
    assert (len(clock.asked), len(clock.waited)) == (4, 3)


# ---- tables ----


def made_up(tmp_path: Path) -> Results:
    """Make results of a machine that multiplies 1 TFLOP a second."""
    plain = {"images_per_second": 20.0, "seconds": 0.4, "start_seconds": 1.0, "seconds_by_player": {"G": 0.3, "D": 0.1}}
    fast = {**plain, "images_per_second": 50.0, "seconds": 0.16, "peak_bytes": 3_000_000_000, "refused": ""}
    pair = {"options": ["bf16", "channels_last"], "flops": 80_000_000_000, "plain": plain, "fast": fast}
    results = Results(tmp_path / "x.json", about("cpu", "abc123"))
    key = {"bench": "update", "preset": "demo", "batch": 8}
    results.measure({"bench": "peak"}, lambda: {"side": 2048, "bf16": 1e12, "fp32": 5e11})
    results.measure({**key, "method": "pix2pix", "fast": "auto"}, lambda: pair)
    alone = {"options": [], "flops": 4, "plain": plain}
    results.measure({**key, "method": "simgan", "fast": "auto"}, lambda: alone)
    refused = {**fast, "refused": "a reason", "seconds_by_player": {}}
    results.measure({**key, "method": "stargan", "fast": "graphs"}, lambda: {**pair, "fast": refused})
    results.measure({**key, "method": "unit", "fast": "graphs"}, fails)
    return results


def test_table_of_updates(tmp_path: Path) -> None:
    lines = table.entry(made_up(tmp_path)).splitlines()
    assert lines[0].endswith(", abc123")
    assert "| pix2pix | demo | 8 | off | 20 | 1.00 | G 300, D 100 | 20% | - | 1 |" in lines
    assert "| pix2pix | demo | 8 | auto: bf16, channels_last | 50 | 2.50 | G 300, D 100 | 50% | 3 | 1 |" in lines
    assert "| simgan | demo | 8 | off (what auto comes to) | 20 | 1.00 | G 300, D 100 | 0% | - | 1 |" in lines
    assert "| stargan | demo | 8 | graphs (no graphs: refused) | 50 | 2.50 | - | 50% | 3 | 1 |" in lines
    assert "- update demo 8 unit graphs: OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB" in lines


def test_table_of_workers_is_over_one_worker(tmp_path: Path) -> None:
    results = Results(tmp_path / "x.json", ABOUT)
    for size, speed in ((1, 10.0), (2, 18.0)):
        values = {"batch": 8, "images_per_second": speed, "seconds": 0.5, "exposed": 0.05}
        results.rows.append({"key": {"method": "unit", "workers": size, "fixed": "global"}, "values": values})
    assert table.workers(results.rows, results)[-1] == "| unit | 2 | global | 8 | 18 | 1.80 | 50 | 10.0% |"


def test_table_numbers_are_short_and_have_no_exponent() -> None:
    assert [table.short(x) for x in (12345.6, 99.94, 1.0, 0.00123, 0.0, -0.0000123)] == [
        *("12346", "99.9", "1", "0.00123", "0", "-0.000012")
    ]


def test_table_has_a_part_for_every_bench() -> None:
    from ..bench.__main__ import BENCHES

    assert {*table.TABLES} == {*BENCHES} - {"step", "paper"} | {"peak", "largest", "update"}


def test_table_picture_shows_speeds_over_plain(tmp_path: Path) -> None:
    from PIL import Image

    results = made_up(tmp_path)
    assert table.bars(results) == {
        "pix2pix, demo, 8": {"auto": 2.5},
        "simgan, demo, 8": {"auto": 1.0},
        "stargan, demo, 8": {"graphs": 2.5},
    }
    table.draw([results], tmp_path / "speeds.png")
    with Image.open(tmp_path / "speeds.png") as picture:
        assert picture.width > 600
