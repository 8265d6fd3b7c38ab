"""Keep credentials out of addresses, which configurations, files and logs hold, and out of what is printed."""

from __future__ import annotations

import os
import re

from i2i_core.errors import ConfigError

_USER = re.compile(
    r"(?<=:)//(?![/[])(?:[^/\s:@]*:(?!\d+[/?#])\S*|(?<=s3://)[^/\s:@]*:\S*"
    r"|(?<!abfs://)(?<!abfss://)(?<!az://)[^/\s:?#]*)@"
)
"""A user of an address, maybe with a password, which may hold / and @. A port is none, which S3 has not; Azure has a
container in that place."""
_SECRET = re.compile(
    r"((?:password|passwd|pwd|secret|token|(?:access|account|api)_?key|signature|credential|\bsig|(?<=[?&])key)[\w-]*=)"
    r"(?:'[^']*'|[^&\s]*[^&\s'\")\],;>])",
    re.IGNORECASE,
)
_IN_QUERY = re.compile(rf"://[^\s?]*\?\S*?{_SECRET.pattern}", re.IGNORECASE)
_VARIABLES = (
    *("PASSWORD", "PASSWD", "SECRET", "TOKEN", "ACCESS_KEY", "ACCESS_KEY_ID"),
    *("ACCOUNT_KEY", "API_KEY", "SECRET_KEY", "STORAGE_KEY"),
)
"""The ends of the names of environment variables that hold credentials."""
SHORTEST = 8
"""Characters of a credential in the environment below which it is taken for a word, and shown."""
ELSEWHERE = (
    "Leave them out. On every node, S3 takes AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; other "
    "storage takes fsspec's configuration (docs/security.md)."
)


def check_address(address: str, where: str) -> None:
    """Refuse an address that holds credentials. Text that is no address passes.

    Args:
        where: the flag, the key of a file, or the address itself, for the message, which shows no credentials.

    Raises:
        ConfigError: it has a user, a password, a key or a signature in it.
    """
    if _USER.search(address):
        found = "an address with a user or a password in it"
    elif _IN_QUERY.search(address):
        found = "an address with a key or a signature in it"
    else:
        return
    of_mlflow = where.replace("_", "-").endswith("mlflow-uri")
    fix = "Give it as MLFLOW_TRACKING_URI on every node instead." if of_mlflow else ELSEWHERE
    raise ConfigError(redacted(where), found, "one without: addresses are kept in files and logs", fix)


def redacted(text: str) -> str:
    """Clean a text of credentials: `://USER:PASSWORD@` becomes `://`, `password=X` `password=***`, and so does what the
    environment's variables of credentials hold (AWS_SECRET_ACCESS_KEY, say)."""
    for name in os.environ:
        if name.endswith(_VARIABLES) and len(value := os.environ.get(name, "")) >= SHORTEST:
            text = text.replace(value, "***")
    return _SECRET.sub(r"\1***", _USER.sub("//", text))
