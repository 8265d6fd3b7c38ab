"""Say which runs to serve, where, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from i2i_core.config.evaluation import AtTestOptions
from i2i_core.errors import ConfigError
from i2i_core.settings import check_at_least, check_numbers, check_positive, setting

MOST_MODELS = 32
LOCALHOST = "localhost"
MIB = 1 << 20


@dataclass(frozen=True)
class LimitOptions:
    """Limit what a request may ask for, and how many may wait."""

    most_mib: int = setting(16, resume="free", most=1024)
    """MiB that the body of a request may have, all its images together; larger ones are answered 413."""
    most_pixels: int = setting(2048 * 2048, resume="free", most=1 << 26)
    """Pixels that an image may have, counted before it is decoded; larger ones are answered 413."""
    most_waiting: int = setting(256, resume="free", most=100_000)
    """Requests that are read, wait or run at once; beyond them the answer is 429, with the seconds to wait."""
    most_held_mib: int = setting(512, resume="free", most=1 << 20)
    """MiB that the bodies of all these requests may take together; beyond them the answer is 429. Not below
    --most-mib."""
    most_seconds: float = setting(60.0, resume="free", most=3600)
    """Seconds that a request may take from its first byte on: an upload that is not over by then is answered 408, an
    image that is not made 504."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "most_mib", "most_pixels", "most_waiting")
        check_positive(self, "most_seconds")
        if self.most_held_mib < self.most_mib:
            fix = f"Give --most-held-mib {self.most_mib} or more."
            raise ConfigError("--most-held-mib", str(self.most_held_mib), f"at least --most-mib {self.most_mib}", fix)

    @property
    def body(self) -> int:
        """Bytes of a body, at most."""
        return self.most_mib * MIB

    @property
    def held(self) -> int:
        """Bytes of all bodies together, at most."""
        return self.most_held_mib * MIB


@dataclass(frozen=True)
class ServeOptions:
    """Say what to serve, and where."""

    host: str = setting("127.0.0.1", resume="free")
    """Address to listen at. Another one than loopback needs a token, which clients send with every request: that of
    --token-file or I2I_SERVE_TOKEN, else a new one, which is printed once."""
    port: int = setting(8000, resume="free", most=65535)
    """Port to listen at; 0 takes a free one."""
    token_file: str = setting("", resume="free")
    """File with the token, of at least 16 characters, which only its owner may read. With a token, loopback asks for it
    too."""
    batch: int = setting(8, resume="free", most=1024)
    """Images that go through the networks together, at most: those of one size that are waiting."""
    batch_wait: float = setting(10.0, resume="free", most=60_000)
    """Milliseconds that an image waits for others to be made with it."""
    replicas: int = setting(1, resume="free", most=1024)
    """Processes for each model. More of them serve more users where there are CPUs or GPUs to spare."""
    gpu: bool = setting(False, resume="free")
    """Run the networks on GPUs, which all processes share evenly."""
    limits: LimitOptions = field(default_factory=LimitOptions)
    at_test: AtTestOptions = field(default_factory=AtTestOptions)

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "batch", "replicas")
        check_at_least(self, 0, "port", "batch_wait")
        self._is_loopback()

    def _is_loopback(self) -> bool:
        try:
            return self.host == LOCALHOST or ip_address(self.host).is_loopback
        except ValueError:
            fix = "For example --host 0.0.0.0, every address of this machine."
            raise ConfigError("--host", repr(self.host), f"{LOCALHOST} or an IP address", fix) from None

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return self._is_loopback()
