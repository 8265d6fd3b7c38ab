"""How an entry point ends: its exit code and what it says.

pytest tests/unit/test_cli.py
"""

from __future__ import annotations

import pytest

from i2i_core import cli
from i2i_core.errors import ConfigError, RunError, Stopped

ENDS: dict[str, tuple[BaseException | None, int, str]] = {
    "done": (None, 0, ""),
    "wrong input": (ConfigError("--a", "1", "2", "Give 2."), 2, "error: --a: found 1; expected 2.\n  Give 2.\n"),
    "forbidden": (
        PermissionError(13, "Permission denied", "/x"), 2,
        "error: /x: Permission denied.\n  Check its permissions; of object storage also the credentials "
        "(AWS_PROFILE, AWS_ACCESS_KEY_ID, ...).\n",
    ),
    "failed": (RunError("no room"), 1, "failed: no room\n"),
    "stopped": (Stopped("runs/x: stopped after 3 of 9 images"), 1, "runs/x: stopped after 3 of 9 images\n"),
    "a second Ctrl-C": (
        KeyboardInterrupt(), 130, "interrupted: what was saved is kept, and the same command goes on from it\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_main_ends_with_a_code_and_one_message(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    error, code, said = ENDS[end]

    def run() -> int:
        if error:
            raise error
        return 0

    with pytest.raises(SystemExit) as ended:
        cli.main(run)
    assert ended.value.code == code
    assert capsys.readouterr().err == said


def test_early_reads_some_flags_and_leaves_what_is_wrong_to_the_parser() -> None:
    arguments = ["--data", "x", "--images=5", "--epochs", "--method", "unit", "--no-flip"]
    assert cli.early(arguments, "method", "images", "epochs", "preset") == {
        "images": "5",
        "epochs": "",
        "method": "unit",
    }
