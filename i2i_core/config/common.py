"""Name the flags that people use, by program and group: those that `--help` shows. `--help-all` shows every flag."""

from __future__ import annotations

from collections.abc import Mapping

Groups = Mapping[str, tuple[str, ...]]
"""Names of flags, without dashes, by the title of their group. `lambda-*` stands for all that begin so."""

_RESULTS = ("storage", "name", "evaluate-every", "metrics", "grid-every", "checkpoint-every", "tracker")

TRAIN: Groups = {
    "what to train": ("method", "preset", "config", "init-from"),
    "data": ("data", "direction", "image-size", "fit", "attributes"),
    "length, batch and weights": ("images", "epochs", "batch", "lr", "g-lr", "d-lr", "lambda-*"),
    "where it runs": ("workers", "gpu", "cpu", "fast"),
    "what it keeps and shows": _RESULTS,
    "before it starts": ("dry-run",),
}
TUNE: Groups = {
    "what to search": ("method", "preset", "space", "metric", "samples", "early-stop"),
    "data": ("data", "direction", "image-size", "attributes"),
    "length and batch of a trial": ("images", "epochs", "batch"),
    "where it runs": ("concurrent", "workers", "gpu", "cpu", "fast"),
    "what it keeps and shows": ("storage", "name", "evaluate-every", "metrics"),
    "before it starts": ("resume", "dry-run"),
}
SHARD: Groups = {
    "what is there": (
        "layout",
        "input",
        "input-b",
        "list",
        "attributes",
        "field",
        "index",
        "member",
        "common-only",
        "pair-pattern",
        "pair-table",
        "split",
        "group-by",
    ),
    "what happens to an image": ("channels", "center-crop", "load-size", "fit", "resample", "encode"),
    "what is written": ("out", "shard-samples", "bad", "overwrite"),
    "where it runs": ("workers",),
}
EVALUATE: Groups = {
    "what to measure": ("CHECKPOINT", "data", "split", "most", "metrics"),
    "judging by a classifier": ("train-classifier", "classifier", "classifier-network"),
    "where it runs": ("workers", "gpu", "cpu"),
    "what is written": ("out",),
}
EXPORT: Groups = {
    "which network": ("CHECKPOINT", "back"),
    "what is written": ("to", "out", "half", "size", "licence", "overwrite"),
}
REPORT: Groups = {"which runs": ("RUN",), "what is written": ("out",)}
GENERATE: Groups = {
    "what to show": ("CHECKPOINT", "walk", "arithmetic", "input", "target"),
    "how much": ("rows", "columns", "first"),
    "what is written": ("out",),
}
SHARE_PUSH: Groups = {
    "what is shared": ("CHECKPOINT", "licence", "pictures"),
    "where it goes": ("REPO", "public", "dry-run", "overwrite"),
}
SHARE_PULL: Groups = {"what is fetched": ("REPO", "revision"), "where it goes": ("FOLDER", "overwrite")}
STUDY_MAKE: Groups = {
    "whose images": ("RUN", "against", "input", "split", "real", "target", "back"),
    "what people are asked": ("mode", "question", "pairs", "trials", "practice", "seconds"),
    "what is drawn": ("sheets", "most", "size", "seed"),
    "where it runs": ("gpu", "cpu"),
    "what is written": ("out",),
}
STUDY_READ: Groups = {
    "what to sum up": ("FILE", "late-ms", "least-ms", "seed"),
    "what is written": ("out",),
}
RUNS: Groups = {"what to list": ("STORAGE", "sort", "follow")}
PRUNE: Groups = {
    "which runs": ("STORAGE", "RUN"),
    "which checkpoints": ("keep-last", "older-than"),
    "what is done": ("yes",),
}
SERVE: Groups = {
    "which models": ("RUN",),
    "who may ask": ("host", "port", "token-file"),
    "how it runs": ("batch", "replicas", "gpu"),
    "limits": ("most-mib", "most-pixels", "most-waiting", "most-seconds"),
}
