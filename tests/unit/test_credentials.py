"""Credentials: refused in every address, and shown nowhere.

pytest tests/unit/test_credentials.py
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from botocore.exceptions import ProxyConnectionError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pipelines.train
from i2i_core import cli, logs
from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.credentials import ELSEWHERE, check_address, redacted
from i2i_core.errors import ConfigError, RunError
from i2i_core.flags import Flag, flags_of
from i2i_core.registry import METHODS
from i2i_core.runs.attempts import record
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.remote import storage_of
from i2i_core.storage.retry import PATIENCE, StorageError, Trying
from pipelines.reference import OTHERS
from pipelines.train import TrainOptions
from pipelines.tune import TuneOptions

from ..support.data import ROOT
from ..support.logs import collected

HIDDEN = "not-to-be-told-7f3a"
REFUSED = {
    "a password": f"https://bob:{HIDDEN}@host/x",
    "a password of object storage": f"s3://key:{HIDDEN}@bucket/x",
    "a password with a slash and an at": f"s3://key:{HIDDEN}/e@c@bucket/x",
    "a secret key that begins as a port": f"s3://key:22/{HIDDEN}@bucket/x",
    "a password behind a port's number": f"sftp://bob:22{HIDDEN}@host/x",
    "a user": f"sftp://{HIDDEN}@host/x",
    "a key of Azure": f"abfss://container:{HIDDEN}@account.dfs.core.windows.net/x",
    "a chain": f"simplecache::s3://key:{HIDDEN}@bucket/x",
    "authors' weights": f"authors:sftp://bob:{HIDDEN}@host/x.pth,y.pth",
    "one of several": f"a.png,https://bob:{HIDDEN}@host/x.png",
    "a signature of AWS": f"https://b.s3.amazonaws.com/x?X-Amz-Date=1&X-Amz-Signature={HIDDEN}",
    "a session of AWS": f"https://b.s3.amazonaws.com/x?X-Amz-Security-Token={HIDDEN}",
    "a signature of Google": f"https://storage.googleapis.com/b/x?X-Goog-Signature={HIDDEN}",
    "a signature of Azure": f"https://a.blob.core.windows.net/c/x?sv=2024&sig={HIDDEN}",
    "a token": f"https://host/x?a=b&token={HIDDEN}",
    "a key": f"https://host/x?key={HIDDEN}",
    "a database": f"postgresql://server/db?user=me&password={HIDDEN}",
}
TAKEN = [
    "s3://bucket/a@b/c",
    "s3://bucket/a//b@c",
    "s3://bucket/x?versionId=3",
    "s3://bucket/token=3/x",
    "http://host:5000/a@b",
    "http://host:80?at=a@b",
    "http://[::1]:5000/a@b",
    "abfss://container@account.dfs.core.windows.net/x",
    "sqlite:////a@b/mlflow.db",
    "file:///home/a@b",
    "bob@host:/x",
    "/a/b@c",
    "x?token=3",
]
"""Places without credentials, which look as if they had some."""


def programs() -> Iterator[tuple[str, Any]]:
    """Yield every program with its options, train.py's and tune.py's once a method."""
    for method in METHODS:
        config = TrainConfig.of(method, "demo" if "demo" in METHODS[method].presets else METHODS[method].first_preset)
        yield "train.py", TrainOptions(config)
        yield "tune.py", TuneOptions(config, SweepConfig())
    for program, (module, options) in OTHERS.items():
        yield program, getattr(importlib.import_module(module), options)()


def texts() -> dict[str, tuple[Any, Flag]]:
    """Give the options and the flag of every flag of every program that takes text, by name."""
    found = {}
    for program, options in programs():
        for flag in flags_of(options):
            if {"STR", "PATH"} & {*flag.kind.split()}:
                found[f"{program} {flag.name}"] = options, flag
    return found


TEXTS = texts()


def test_flags_that_take_text_are_found() -> None:
    names = {name.partition(" ")[2] for name in TEXTS}
    assert {"--data", "--also", "--shards-at", "--input", "--input-b", "--out", "--storage", "--cache"} <= names
    assert {"--config", "--init-from", "--classifier", "--inception", "--segmentation", "--index", "--like"} <= names
    assert {"--mlflow-uri", "--statistics", "--palette", "--perceptual-weights", "--lpips-weights", "--space"} <= names
    assert "CHECKPOINT" in names


@pytest.mark.parametrize("name", TEXTS)
def test_flag_takes_no_credentials(name: str) -> None:
    options, flag = TEXTS[name]
    for address in (REFUSED["a password"], REFUSED["a signature of AWS"]):
        typed = [flag.name, address] if flag.name.startswith("--") else [address]
        with pytest.raises(ConfigError) as refused:
            cli.parse(options, name.split(" ")[0], typed)
        assert refused.value.where == (flag.name if flag.name.startswith("--") else "an address of the command line")
        assert refused.value.found.startswith("an address with a ")
        assert "every node" in refused.value.fix
        assert HIDDEN not in str(refused.value)


@pytest.mark.parametrize("case", REFUSED)
def test_address_with_credentials_is_refused_without_telling_them(case: str) -> None:
    address = REFUSED[case]
    with pytest.raises(ConfigError) as refused:
        check_address(address, "--data")
    assert refused.value.fix == ELSEWHERE
    with pytest.raises(ConfigError) as opened:
        storage_of(address)
    assert opened.value.found == refused.value.found
    for text in (str(refused.value), str(opened.value), redacted(f"at '{address}': refused")):
        assert HIDDEN not in text


@pytest.mark.parametrize("address", TAKEN)
def test_address_without_credentials_is_taken(address: str) -> None:
    check_address(address, "--data")


@settings(max_examples=60)
@given(
    st.sampled_from(["https", "s3", "sftp", "gs", "memory"]),
    st.text("abcXYZ019-._~%", max_size=6),
    st.text("abcXYZ019/@:?#&=!$*+", min_size=1).map(lambda text: f"{text}{HIDDEN}"),
)
def test_address_tells_no_password_whatever_is_in_it(scheme: str, user: str, password: str) -> None:
    assume(scheme == "s3" or not re.match(r"\d+[/?#]", password))  # a port, and a path
    address = f"{scheme}://{user}:{password}@host/x"
    with pytest.raises(ConfigError) as refused:
        storage_of(address)
    assert HIDDEN not in str(refused.value)
    assert HIDDEN not in redacted(f"{address} is away")


def test_storage_is_opened_in_one_file() -> None:
    """So that no caller can open an address that was not checked."""
    files = [file for room in ("i2i_core", "pipelines") for file in (ROOT / room).rglob("*.py")]
    imports = re.compile(r"^\s*(import|from) (fsspec|s3fs)\b", re.MULTILINE)
    assert [file for file in files if imports.search(file.read_text())] == [ROOT / "i2i_core/storage/remote.py"]


def test_config_of_python_and_of_a_file_takes_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = REFUSED["a password"]
    for key, value in (("data.uri", address), ("data.also", [address]), ("monitoring.mlflow_uri", address)):
        with pytest.raises(ConfigError) as refused:
            TrainConfig.of("stargan", "demo", {key: value})
        assert refused.value.where == key
        section, name = key.split(".")
        file = tmp_path / "a.json"
        file.write_text(json.dumps({"method": "stargan", "preset": "demo", section: {name: value}}))
        with pytest.raises(ConfigError) as of_file:
            pipelines.train.configure(["--config", str(file)])
        assert of_file.value.where == f"{file}: {key}"
        assert ("MLFLOW_TRACKING_URI" in of_file.value.fix) == ("mlflow" in key)
        assert HIDDEN not in f"{refused.value} {of_file.value}"
    with pytest.raises(ConfigError, match=r"--config: found an address with a user or a password"):
        pipelines.train.configure(["--config", address])


def test_credentials_of_other_storage_come_from_fsspecs_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the message says, and docs/security.md shows."""
    monkeypatch.setattr(fsspec.config, "conf", {})
    headers = {"client_kwargs": {"headers": {"Authorization": "Basic x"}}}
    environment = {"FSSPEC_HTTPS": json.dumps(headers), "FSSPEC_SFTP_USERNAME": "bob"}
    fsspec.config.set_conf_env(fsspec.config.conf, environment)
    assert storage_of("https://host/x")[0].fs.client_kwargs == headers["client_kwargs"]
    assert fsspec.config.conf["sftp"] == {"username": "bob"}
    assert "FSSPEC_HTTPS" in (ROOT / "docs/security.md").read_text()


# ---- what is printed ----

VARIABLES = [
    *("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY", "RAY_AUTH_TOKEN", "AZURE_STORAGE_KEY", "HF_TOKEN"),
]


@pytest.mark.parametrize("name", VARIABLES)
def test_redacted_leaves_out_what_the_environment_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, HIDDEN)
    assert redacted(f"the signature of {HIDDEN} does not match") == "the signature of *** does not match"


def test_redacted_shows_where_a_token_is_and_short_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/bob/.ray/auth_token")
    monkeypatch.setenv("SOME_TOKEN", "run")
    assert redacted("run: it is in /home/bob/.ray/auth_token") == "run: it is in /home/bob/.ray/auth_token"


@pytest.mark.parametrize("error", [ValueError, RunError, PermissionError, KeyError])
def test_main_prints_no_credentials_whatever_ends_a_program(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", HIDDEN)
    about = f"no answer from {REFUSED['a password']} with {HIDDEN}"

    def run() -> None:
        raise error(13, about, about) if error is PermissionError else error(about)

    with pytest.raises(SystemExit) as ended:
        cli.main(run)
    said = capsys.readouterr().err
    assert ended.value.code == (2 if error is PermissionError else 1)
    assert "no answer from https://host/x with ***" in said
    assert HIDDEN not in said
    assert ("Traceback (most recent call last):" in said) == (error in (ValueError, KeyError))


def test_log_shows_no_credentials_in_its_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", HIDDEN)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.Line())
    handler.addFilter(logs.Origin("run", 0))
    logger = logging.Logger("i2i_core.x")
    logger.addHandler(handler)
    try:
        raise ValueError(f"{REFUSED['a password']} and {HIDDEN}")
    except ValueError:
        logger.exception("at %s", REFUSED["a signature of AWS"])
    assert "Traceback" in out.getvalue()
    assert "https://host/x and ***" in out.getvalue()
    assert HIDDEN not in out.getvalue()


def test_status_holds_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", HIDDEN)
    run = RunFolder(str(tmp_path / "run"))
    record(run, "a", state="failed", error=f"{REFUSED['a password']}: {HIDDEN}", images=3)
    assert run.status() == {"state": "failed", "error": "https://host/x: ***", "images": 3, "attempt": "a"}


def test_retry_tells_no_password_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's message has HTTPS_PROXY in it."""
    monkeypatch.setenv(PATIENCE, "0")
    error = ProxyConnectionError(proxy_url=f"http://bob:{HIDDEN}@proxy:3128", error="refused")
    with collected() as lines, pytest.raises(StorageError) as caught:
        Trying("s3://bucket/x").failed(error)
    assert "http://proxy:3128" in str(caught.value)
    assert HIDDEN not in f"{caught.value} {lines}"
    assert os.environ[PATIENCE] == "0"
