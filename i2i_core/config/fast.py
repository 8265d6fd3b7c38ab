"""Name the ways to run faster that `--fast` takes."""

from __future__ import annotations

from i2i_core.errors import ConfigError, nearest

OPTIONS: dict[str, str] = {
    "bf16": "forward passes under bf16 autocast; weights, losses, penalties, statistics and moves stay float32",
    "channels_last": "images and convolutions laid out in memory with the channels last",
    "passes": "one call where a network goes over several images, if it has no batch norm and no dropout",
    "compile": "networks compiled by torch.compile, but where they are differentiated twice",
    "graphs": "a whole update recorded as a CUDA graph, and launched as one",
    "bf16_sums": "gradients travel between workers as bf16",
}
"""Every option, and what it does."""
ALONE = ("auto", "off")


def check_fast(names: tuple[str, ...]) -> None:
    """Raise ConfigError unless these are `auto`, `off`, or options."""
    for name in names:
        if name not in OPTIONS and name not in ALONE:
            expected = f"auto, off, or some of {', '.join(OPTIONS)}"
            raise ConfigError("--fast", repr(name), expected, nearest(name, [*ALONE, *OPTIONS]))
        if name in ALONE and len(names) > 1:
            fix = f"Give --fast {name}, or the options alone."
            raise ConfigError("--fast", " ".join(names), f"{name} by itself, or options", fix)
    if not names:
        raise ConfigError("--fast", "nothing", "auto, off, or options", "Leave --fast out, or give --fast off.")
