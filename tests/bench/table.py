"""Show results: a dated entry of Markdown for docs/performance.md, and a picture of the speeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .peak import fastest, share
from .results import Results, Row, Values

Cells = Sequence[object]


def entry(results: Results) -> str:
    """Write what a machine measured: a heading with date, machine and commit, the versions, and a table for each bench
    that has rows."""
    about, rows = results.about, results.rows
    first = min((row["date"] for row in rows), default="")[:10]
    loads = [row["load"] for row in rows]
    lines = [f"### {first}, {about['machine']}, {about['commit']}", "", said(about)]
    if loads:
        lines.append(f"Processes that wanted a core before a row was begun: {min(loads):.1f} to {max(loads):.1f}.")
    for bench, (title, write) in TABLES.items():
        done = [row for row in results.of(bench) if "values" in row]
        if done:
            lines += ["", f"**{title}**", "", *write(done, results)]
    failed = [f"- {named(row)}: {row['failed']}" for row in rows if "failed" in row]
    return "\n".join([*lines, *(["", "**Failed**", "", *failed] if failed else []), ""])


def said(about: Values) -> str:
    """Name the machine, the versions and the flags."""
    where = f"{about['cores']} cores, torch with {about['torch_threads']} threads"
    gpu = f", {about['gpus']} GPUs, CUDA {about['cuda']}, cuDNN {about['cudnn']}" if about["device"] == "cuda" else ""
    flags = ", ".join(f"{name} {on}" for name, on in about.items() if name.startswith(("tf32", "cudnn_bench")))
    return f"torch {about['torch']}, Python {about['python']}, {where}{gpu}; {flags}."


def named(row: Row) -> str:
    """Join the parts of a row's key."""
    return " ".join(str(part) for part in row["key"].values())


def markdown(head: Cells, rows: Iterable[Cells]) -> list[str]:
    """Write a table."""
    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def line(cells: Cells) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def short(value: float) -> str:
    """Write a number with three digits, or with all that it has before the point; without an exponent."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.3g}" if size >= 0.001 or not size else f"{value:.6f}"


# ---- a table each ----


def peaks(rows: list[Row], results: Results) -> list[str]:
    """Write the machine's rates of products."""
    values, side = rows[0]["values"], rows[0]["values"]["side"]
    found = ", ".join(f"{name} {short(values[name] / 1e12)}" for name in ("bf16", "fp32"))
    return [f"{side} x {side}, TFLOP/s: {found}."]


def largest(rows: list[Row], results: Results) -> list[str]:
    """Write which batches fit."""
    found = [(row["key"]["method"], row["values"]["batch"], row["values"]["ended_by"]) for row in rows]
    return markdown(("method", "largest batch", "ended by"), found)


def updates(rows: list[Row], results: Results) -> list[str]:
    """Write two lines for each pair: plain, and what it was measured beside."""
    head = (
        "method",
        "preset",
        "batch",
        "--fast",
        "images/s",
        "over plain",
        "ms by player",
        "of peak",
        "GB",
        "start, s",
    )
    return markdown(head, (update_cells(*one, results) for row in rows for one in sides_of(row)))


def sides_of(row: Row) -> list[tuple[Row, str]]:
    """List the sides of a pair that were measured."""
    return [(row, side) for side in ("plain", "fast") if side in row["values"]]


def update_cells(row: Row, side: str, results: Results) -> Cells:
    """Write one side of a pair."""
    key, values = row["key"], row["values"]
    mine, plain = values[side], values["plain"]
    name = "off" if side == "plain" else options_of(row)
    if side == "plain" and "fast" not in values:
        name = f"off (what {key['fast']} comes to)"
    speed = mine["images_per_second"]
    return (
        *(key["method"], key["preset"], key["batch"], name, short(speed)),
        f"{speed / plain['images_per_second']:.2f}",
        ", ".join(f"{player} {short(1e3 * seconds)}" for player, seconds in mine["seconds_by_player"].items()) or "-",
        part_of_peak(results, values["flops"], mine["seconds"]),
        short(mine["peak_bytes"] / 1e9) if "peak_bytes" in mine else "-",
        short(mine["start_seconds"]),
    )


def options_of(row: Row) -> str:
    """Name what a row's `--fast` was, and for `auto` what that came to."""
    asked, options = row["key"]["fast"], row["values"]["options"]
    refused = " (no graphs: refused)" if row["values"]["fast"]["refused"] else ""
    return (f"{asked}: {', '.join(options)}" if asked == "auto" else str(asked)) + refused


def part_of_peak(results: Results, flops: int, seconds: float) -> str:
    """Write the part of the measured peak, where there is one."""
    peak = results.find({"bench": "peak"})
    return f"{share(flops, seconds, fastest(peak['values'])):.0%}" if peak and "values" in peak else "-"


def workers(rows: list[Row], results: Results) -> list[str]:
    """Write the speeds on several workers, each over the one of one worker."""
    alone = {row["key"]["method"]: row["values"] for row in rows if row["key"]["workers"] == 1}
    head = (
        "method",
        "workers",
        "fixed batch",
        "global batch",
        "images/s",
        "over 1 worker",
        "exposed, ms",
        "of the update",
    )
    cells = []
    for row in rows:
        key, values = row["key"], row["values"]
        one, speed = alone.get(key["method"]), values["images_per_second"]
        over = f"{speed / one['images_per_second']:.2f}" if one else "-"
        exposed = short(1e3 * values["exposed"]), f"{values['exposed'] / values['seconds']:.1%}"
        cells.append((key["method"], key["workers"], key["fixed"], values["batch"], short(speed), over, *exposed))
    return markdown(head, cells)


def loops(rows: list[Row], results: Results) -> list[str]:
    """Write the speeds of the loops."""
    head = ("method (`demo`)", "--fast auto", "bare step, images/s", "loop, images/s", "ratio", "data wait")
    return markdown(head, (loop_cells(row["key"]["method"], row["values"]) for row in rows))


def loop_cells(name: object, values: Values) -> Cells:
    """Write one loop."""
    speeds = short(values["bare"]), short(values["loop"]), f"{values['ratio']:.3f}", f"{values['data_wait']:.1%}"
    return (name, ", ".join(values["options"]) or "off", *speeds)


def seconds(*names: str) -> Callable[[list[Row], Results], list[str]]:
    """Give what writes the numbers of those names, seconds; sizes as MB."""

    def write(rows: list[Row], results: Results) -> list[str]:
        head = ("of", *(f"{name}, {'MB' if name == 'bytes' else 's'}".replace("_", " ") for name in names))
        cells = [[named(row), *(figure(name, row["values"][name]) for name in names)] for row in rows]
        return markdown(head, cells)

    return write


def figure(name: str, value: float) -> str:
    """Write a number of seconds, or of bytes as MB."""
    return f"{value / 1e6:.0f}" if name == "bytes" else short(value)


TABLES: dict[str, tuple[str, Callable[[list[Row], Results], list[str]]]] = {
    "peak": ("Products of matrices", peaks),
    "largest": ("Largest batch, plain", largest),
    "update": ("The bare step", updates),
    "workers": ("Workers, plain", workers),
    "loop": ("The loop against the bare step", loops),
    "save": ("A checkpoint", seconds("bytes", "stall", "whole")),
    "start": ("From the command", seconds("first_update", "whole")),
    "resume": ("The first batch of a resumed run", seconds("first_batch")),
}


# ---- a picture ----


def bars(results: Results) -> dict[str, dict[str, float]]:
    """Collect speeds over plain: by case (method and batch), by what was asked of `--fast`; 1 where that is plain."""
    found: dict[str, dict[str, float]] = {}
    for row in results.of("update"):
        if values := row.get("values"):
            key, plain = row["key"], values["plain"]["images_per_second"]
            case = f"{key['method']}, {key['preset']}, {key['batch']}"
            found.setdefault(case, {})[key["fast"]] = values.get("fast", values["plain"])["images_per_second"] / plain
    return found


def ways_of(found: dict[str, dict[str, float]]) -> list[str]:
    """List what was asked of `--fast` in any case."""
    return list(dict.fromkeys(way for speeds in found.values() for way in speeds))


def draw(every: Sequence[Results], path: Path) -> None:
    """Draw speeds over plain eager fp32 into a PNG, a panel a file of results."""
    import matplotlib.pyplot as plt

    most = max(max(2, len(ways_of(found))) * len(found) for found in map(bars, every))
    figure, panels = plt.subplots(1, len(every), figsize=(9 * len(every), 1.5 + 0.17 * most), squeeze=False)
    for panel, results in zip(panels[0], every, strict=True):
        found = bars(results)
        ways = ways_of(found)
        height = 0.8 / max(1, len(ways))
        for i, way in enumerate(ways):
            cases = [(y, speeds[way]) for y, speeds in enumerate(found.values()) if way in speeds]
            drawn = panel.barh([y + i * height for y, _ in cases], [x for _, x in cases], height, label=f"--fast {way}")
            panel.bar_label(drawn, fmt="%.2f", padding=2, fontsize=8)
        panel.set_yticks([y + 0.4 - height / 2 for y in range(len(found))], list(found))
        panel.invert_yaxis()
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xlabel("images/s over plain eager fp32 of the same run")
        panel.set_title(f"{results.about['machine']}, {results.about['commit']}", fontsize=10)
        panel.margins(x=0.1)
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
