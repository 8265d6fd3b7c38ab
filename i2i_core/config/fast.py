"""Name the ways to run faster that `--fast` takes."""

from __future__ import annotations

from i2i_core.errors import ConfigError, nearest

OPTIONS = ("bf16", "channels_last", "passes", "compile", "graphs", "bf16_sums")
ALONE = ("auto", "off")


def check_fast(names: tuple[str, ...]) -> None:
    """Raise ConfigError unless the names are `auto` or `off` alone, or options."""
    for name in names:
        if name not in OPTIONS and name not in ALONE:
            expected = f"auto, off, or some of {', '.join(OPTIONS)}"
            raise ConfigError("--fast", repr(name), expected, nearest(name, [*ALONE, *OPTIONS]))
        if name in ALONE and len(names) > 1:
            fix = f"Give --fast {name}, or the options alone."
            raise ConfigError("--fast", " ".join(names), f"{name} by itself, or options", fix)
    if not names:
        raise ConfigError("--fast", "nothing", "auto, off, or options", "Leave --fast out, or give --fast off.")
