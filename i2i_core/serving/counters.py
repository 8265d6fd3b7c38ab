"""Count requests for Prometheus: how many, how they were answered, how long they took, how many went together."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from i2i_core.serving.admission import Admission

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOGETHER = (1, 2, 4, 8, 16, 32, 64, 128)
NO_MODEL = ""
"""Value of the label `model` of requests that name none that is there: names of strangers make no series."""


class Counters:
    """Hold the numbers of one server, in a registry of its own."""

    def __init__(self, admission: Admission) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        of = self.registry
        self.answers = Counter(
            "i2i_answers", "Requests for images answered, by status.", ["model", "status"], registry=of
        )
        self.seconds = Histogram(
            "i2i_answer_seconds", "Seconds from a request to its image.", ["model"], buckets=SECONDS, registry=of
        )
        self.together = Histogram(
            "i2i_batch_images",
            "Images that went through the networks with an image.",
            ["model"],
            buckets=TOGETHER,
            registry=of,
        )
        self.networks = Counter("i2i_network_seconds", "Seconds in networks, an image's share.", ["model"], registry=of)
        waiting = Gauge("i2i_requests_in_hand", "Requests that are read, wait or run.", registry=of)
        waiting.set_function(lambda: admission.waiting)
        Gauge("i2i_bodies_bytes", "Bytes of their bodies.", registry=of).set_function(lambda: admission.held)

    def answered(self, model: str, status: int, seconds: float) -> None:
        """Count an answer; of an image also its time."""
        self.answers.labels(model, str(status)).inc()
        if status == 200:
            self.seconds.labels(model).observe(seconds)

    def made(self, model: str, together: int, seconds: float) -> None:
        """Count an image, and how many others were made with it, in so many seconds for all."""
        self.together.labels(model).observe(together)
        self.networks.labels(model).inc(seconds / together)

    def text(self) -> bytes:
        """Write all numbers as Prometheus reads them."""
        return bytes(generate_latest(self.registry))
