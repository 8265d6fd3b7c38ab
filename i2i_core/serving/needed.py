"""Check that the packages are installed that serving takes: the extra `serve`."""

from __future__ import annotations

from importlib.util import find_spec

from i2i_core.errors import ResourceError

NEEDED = ("starlette", "uvicorn", "watchfiles", "python_multipart")
"""Modules of the extra `serve`."""


def check_packages() -> None:
    """Check that what serving takes is installed. Raises ResourceError."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        fix = "Install them: pip install 'i2i[serve]'."
        raise ResourceError("serve.py", f"no package {', '.join(missing)}", ", ".join(NEEDED), fix)
