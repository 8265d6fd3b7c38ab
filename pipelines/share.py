"""Share a generator: `python pipelines/share.py push RUN OWNER/NAME`, and `share.py pull OWNER/NAME FOLDER`.

`push` writes the networks that make images, the configuration, where they come from and a model card into a repository
of the Hugging Face hub, or into a folder. `pull` fetches such a repository or folder, and checks it; translate.py,
evaluate.py and export.py take the folder like a run. Tokens come from the hub's own places: HF_TOKEN, or
`hf auth login`. docs/sharing.md shows both.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

try:
    import tyro
except ModuleNotFoundError as missing:  # another Python than `make setup` installed into
    sys.exit(f"error: {missing}. Run `make setup` once, and `source .venv/bin/activate` in every new shell.")

from i2i_core import logs
from i2i_core.cli import main, parse, say
from i2i_core.config.common import SHARE_PULL, SHARE_PUSH
from i2i_core.errors import ConfigError, counted
from i2i_core.logs import Level
from i2i_core.settings import shown
from i2i_core.sizes import said_bytes
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import absolute

PROGRAM = "share.py"
MOST_LICENCE = 200
ABOUT_PUSH = """
Write a run's generator into a repository of the Hugging Face hub, which is made where there is none, or into a folder.

A new repository is private unless --public is given. What is written is data alone: safetensors, JSON, a model card and
pictures. --dry-run FOLDER writes the same files into a folder, and sends nothing.
"""
ABOUT_PULL = """
Fetch a generator that share.py push wrote, from the Hugging Face hub or a folder, check it, and write it into a folder.

Only the files that a generator has are fetched; nothing in them runs.
"""


@dataclass(frozen=True)
class PushOptions:
    """Say which generator to share, and where."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")] = ""
    """Folder or URL of a run (its best checkpoint, else its last), of one checkpoint, or of what was pulled."""
    repo: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REPO")] = ""
    """Repository of the hub, OWNER/NAME; or a folder or URL, which begins with ., / or a protocol."""
    licence: str = ""
    """Licence of the weights, as the hub writes it (apache-2.0, cc-by-nc-4.0) or in words. It has to be given for runs
    that began with weights of others."""
    public: bool = False
    """Let everybody see a repository that is made."""
    pictures: bool = True
    """Put the run's grid and samples on the card. They show images of its data set."""
    dry_run: str = ""
    """Folder to write instead of the repository: what would be sent."""
    overwrite: bool = False
    """Write into a folder that holds something."""
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""

    def __post_init__(self) -> None:
        if not self.licence.isprintable() or len(self.licence) > MOST_LICENCE:
            expected = f"a name of at most {MOST_LICENCE} characters on one line"
            raise ConfigError("--licence", shown(self.licence), expected, "For example --licence apache-2.0.")


@dataclass(frozen=True)
class PullOptions:
    """Say which generator to fetch, and where to put it."""

    repo: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REPO")] = ""
    """Repository of the hub, OWNER/NAME; or a folder or URL."""
    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")] = ""
    """Folder or URL to write."""
    revision: str = ""
    """Branch, tag or commit of the repository. Without it: its main branch."""
    overwrite: bool = False
    """Write into a folder that holds something."""
    log_level: Level = "info"
    """Least severe messages to log: debug, info, warning or error."""


def run() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["push"]:
        return push(parse(PushOptions(), f"{PROGRAM} push", arguments[1:], ABOUT_PUSH, SHARE_PUSH))
    if arguments[:1] == ["pull"]:
        return pull(parse(PullOptions(), f"{PROGRAM} pull", arguments[1:], ABOUT_PULL, SHARE_PULL))
    if {"--help", "-h", "--help-all"} & {*arguments[:1]}:
        say(*(__doc__ or "").strip().split("\n"))
        return 0
    found = arguments[0] if arguments else "nothing"
    raise ConfigError(PROGRAM, found, "push or pull", "share.py push RUN OWNER/NAME, or share.py pull REPO FOLDER.")


def push(options: PushOptions) -> int:
    """Share a generator, and return the exit code."""
    logs.show(options.log_level)
    if not options.checkpoint or not (options.repo or options.dry_run):
        where = "REPO" if options.checkpoint else "CHECKPOINT"
        raise ConfigError(where, "nothing", "share.py push RUN OWNER/NAME, or a folder", "Name both.")
    from i2i_core.sharing import folder, hub

    name = "" if options.dry_run else hub.repository(options.repo)
    if name:
        hub.check_package()
    elif options.public:
        raise ConfigError("--public", "it for a folder", "a repository of the hub", "Leave --public out.")
    made = folder.generator(absolute(options.checkpoint, "CHECKPOINT"), options.licence, options.pictures)
    for line in _lines(made.files):
        say(line)
    say(f"licence: {made.about.licence or 'none stated, so that nobody may use the weights: see --licence'}")
    if name:
        message = f"{made.about.run} after {counted(made.about.images, 'image')}"
        say(f"pushed to {hub.upload(name, made.files, not options.public, message)}")
        return 0
    flag, place = ("--dry-run", options.dry_run) if options.dry_run else ("REPO", options.repo)
    folder.write(Folder(absolute(place, flag)), made.files, options.overwrite, flag)
    say(f"written to {place}" + (", and nothing was sent" if options.dry_run else ""))
    return 0


def pull(options: PullOptions) -> int:
    """Fetch a generator, and return the exit code."""
    logs.show(options.log_level)
    if not options.repo or not options.folder:
        where = "FOLDER" if options.repo else "REPO"
        raise ConfigError(where, "nothing", "share.py pull OWNER/NAME FOLDER", "Name both.")
    from i2i_core.sharing import folder, hub

    name = hub.repository(options.repo)
    if options.revision and not name:
        raise ConfigError("--revision", "it for a folder", "a repository of the hub", "Leave --revision out.")
    place = hub.download(name, folder.FILES, options.revision) if name else absolute(options.repo, "REPO")
    files = folder.fetched(Folder(place))
    folder.write(Folder(absolute(options.folder, "FOLDER")), files, options.overwrite, "FOLDER")
    for line in _lines(files):
        say(line)
    say(f"pulled to {options.folder}: translate.py, evaluate.py and export.py take it like a run")
    return 0


def _lines(files: Mapping[str, bytes]) -> list[str]:
    """Say what is written, a line for each file."""
    return [f"  {name}: {said_bytes(len(data))}" for name, data in sorted(files.items())]


if __name__ == "__main__":
    main(run)
