"""A run's folder, local or on object storage.

config.json        the configuration the run was started with
status.json        running, finished or failed, and with what result
checkpoints/images-000012000/
best.json          which checkpoint is best, by which metric
grids/images-000012000.png
tensorboard/
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fsspec


class Folder:
    """Files under one URL. Paths are relative to it.

    A file is either there whole or not there: local files are written beside their place, flushed to
    disk and renamed; on object storage a put is already so.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.fs, root = fsspec.core.url_to_fs(self.url)
        self.root = str(root)
        self.local = isinstance(self.fs, fsspec.implementations.local.LocalFileSystem)

    def at(self, path: str) -> str:
        """A file's full URL, as a person would name it."""
        return f"{self.url}/{path}"

    def sub(self, path: str) -> Folder:
        return Folder(self.at(path))

    def write(self, path: str, data: bytes) -> None:
        full = f"{self.root}/{path}"
        if not self.local:
            self.fs.pipe_file(full, data)
            return
        place = Path(full)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.writing")
        with beside.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(place)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError when it is not there."""
        data: bytes = self.fs.cat_file(f"{self.root}/{path}")
        return data

    def exists(self, path: str) -> bool:
        return bool(self.fs.exists(f"{self.root}/{path}"))

    def names(self, path: str) -> list[str]:
        """Names in a sub-folder, sorted; none if there is no such folder."""
        self.fs.invalidate_cache()
        if not self.exists(path):
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in self.fs.ls(f"{self.root}/{path}", detail=False))

    def remove(self, path: str) -> None:
        if self.exists(path):
            self.fs.rm(f"{self.root}/{path}", recursive=True)

    def write_json(self, path: str, value: Any) -> None:
        self.write(path, (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """The value, or None when the file is not there."""
        return json.loads(self.read(path)) if self.exists(path) else None
