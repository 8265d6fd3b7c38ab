"""Choose the token that clients send: that of a file or of the environment, or a new one."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from i2i_core.config.serving import ServeOptions
from i2i_core.errors import ConfigError

VARIABLE = "I2I_SERVE_TOKEN"
SHORTEST, LONGEST = 16, 4096
"""Characters of a token."""
FIX = "Make one: (umask 077; openssl rand -hex 24 > FILE)."


def token_of(options: ServeOptions) -> tuple[str, bool]:
    """Give the token, and tell whether it is a new one, which somebody has to be told; empty: none is needed.

    Raises:
        ConfigError: a file that cannot be read, or that others may read, or a token that is too short.
    """
    if options.token_file:
        return _checked(_read(options.token_file), "--token-file"), False
    if VARIABLE in os.environ:
        return _checked(os.environ[VARIABLE], VARIABLE), False
    return ("", False) if options.loopback else (secrets.token_urlsafe(24), True)


def _read(name: str) -> str:
    try:
        if stat.S_IMODE(Path(name).stat().st_mode) & 0o077:
            found = f"{name}, which others than its owner may read"
            raise ConfigError("--token-file", found, "a file of its owner alone", f"chmod 600 {name}")
        with open(name, encoding="ascii") as file:
            return file.read(LONGEST + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not plain text"
        raise ConfigError("--token-file", f"{name} ({reason})", "a file with a token", FIX) from None


def _checked(token: str, where: str) -> str:
    plain = token.isascii() and token.isprintable() and " " not in token
    if not (plain and SHORTEST <= len(token) <= LONGEST):
        expected = f"{SHORTEST} to {LONGEST} plain characters without spaces"
        raise ConfigError(where, f"a token of {len(token)} characters", expected, FIX)
    return token
