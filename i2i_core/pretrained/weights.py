"""Read published weights of trained networks: a file that a flag names, else fetched once into torch hub's cache."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from i2i_core.errors import ConfigError
from i2i_core.logs import ProgressLines
from i2i_core.storage.folder import Folder
from i2i_core.storage.near import corrected
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import storage_of
from i2i_core.tensors import loaded

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds to wait for a server that does not answer."""
PART = 1 << 20
"""Bytes of a download that are read at a time."""


class TruncatedError(Exception):
    """Report a download that ended before the length that its server announced."""


def fetched(url: str) -> bytes:
    """Fetch a file over HTTP, and log how far it has come.

    Raises:
        OSError: no server, no such file, or no answer within PATIENCE.
        TruncatedError: it ended too soon.
    """
    with urlopen(Request(url, headers={"User-Agent": "i2i"}), timeout=PATIENCE) as answer:
        announced, data = int(answer.headers.get("Content-Length") or 0), bytearray()
        told = ProgressLines(url.rpartition("/")[2], announced, "bytes", logger.info)
        told(0)
        try:
            while part := answer.read(PART):
                data += part
                told(len(part))
        except http.client.IncompleteRead as error:
            data += error.partial
            announced = max(announced, len(data) + (error.expected or 1))
    if len(data) < announced:
        raise TruncatedError(f"the download is truncated: {len(data):,} of {announced:,} bytes came")
    return bytes(data)


@dataclass(frozen=True)
class Published:
    """Describe a weights file that a network's authors publish, and read it.

    Args:
        what: the file in words, for messages.
        url: address to fetch it from.
        sha256: first digits of its checksum, as in its name.
        flag: the flag that names another file to use in its place.
        instead: advice for users without the file, after "Or"; empty: none.
    """

    what: str
    url: str
    sha256: str
    flag: str
    instead: str = ""

    @property
    def file(self) -> str:
        """Name of the published file."""
        return self.url.rpartition("/")[2]

    def read(self, given: str) -> Weights:
        """Read a given file, else the published one, which is fetched if torch hub's cache does not have it.

        Raises:
            ConfigError: there is no such file; or none is given, none is in the cache, and fetching fails.
        """
        if not given:
            return self._opened(self._published(), self.file)
        fs, place = storage_of(given)
        if not fs.isfile(place):
            fix = corrected(given, f"Name the file, or fetch it from {self.url}.")
            raise ConfigError(self.flag, f"no file {given}", f"{self.what}, as in {self.file}", fix)
        return self._opened(fs.cat_file(place), given)

    def wrong(self, found: str) -> ConfigError:
        """Make the error for a file with another content than expected."""
        return ConfigError(self.flag, found, f"{self.what}, as in {self.file}", f"Fetch it from {self.url}.")

    def _opened(self, data: bytes, name: str) -> Weights:
        try:
            state = loaded(data)
        except ValueError as error:
            raise self.wrong(f"{name}, which torch cannot read ({error})") from None
        if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise self.wrong(f"{name}, which holds something else than tensors by name")
        return Weights(self, state, Path(name).name, sha256(data))

    def _published(self) -> bytes:
        """Read the published file from torch hub's cache, fetching it first if needed. Raises ConfigError."""
        place = Path(torch.hub.get_dir(), "checkpoints", self.file)
        if place.exists():
            if sha256(data := place.read_bytes()).startswith(self.sha256):
                return data
            logger.warning(f"{place} is damaged; fetching it again")
        try:
            data = fetched(self.url)
            if not sha256(data).startswith(self.sha256):
                raise ValueError("other bytes than its checksum's")
            Folder(str(place.parent)).write(self.file, data)  # whole or not at all
            return data
        except (OSError, ValueError, TruncatedError, http.client.HTTPException) as error:
            found = f"none given, none in {place.parent}, and none to be had from {self.url} ({_first_line(error)})"
            again = "Run the same command again, or f" if isinstance(error, TruncatedError) else "F"
            instead = f" Or {self.instead}." if self.instead else ""
            fix = f"{again}etch it where that works, and name it: {self.flag} FILE.{instead}"
            raise ConfigError(self.flag, found, f"{self.what}, {self.file}", fix) from None


@dataclass(frozen=True)
class Weights:
    """Hold a weights file that was read: its tensors by name, and its checksum."""

    published: Published
    state: Mapping[str, Tensor]
    file: str
    sha256: str

    @property
    def facts(self) -> dict[str, Any]:
        """Name, checksum, and `published`: true if it is the published file, which others measure with."""
        is_it = self.sha256.startswith(self.published.sha256)
        return {"file": self.file, "sha256": self.sha256, "published": is_it}

    def load(self, network: torch.nn.Module, names: Mapping[str, str]) -> None:
        """Load the tensors into a network.

        Args:
            names: the network's names of its tensors -> the file's.

        Raises:
            ConfigError: tensors of other names or shapes.
        """
        if missing := [name for name in names.values() if name not in self.state]:
            raise self.published.wrong(f"{self.file} without {len(missing)} of {len(names)} tensors, as {missing[0]}")
        own = network.state_dict()
        for name, theirs in names.items():
            if own[name].shape != self.state[theirs].shape:
                shapes = f"{tuple(self.state[theirs].shape)}, not {tuple(own[name].shape)}"
                raise self.published.wrong(f"{self.file} with a {theirs} of shape {shapes}")
        network.load_state_dict({name: self.state[theirs] for name, theirs in names.items()}, strict=False)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
