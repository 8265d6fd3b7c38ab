"""Tests run on one torch thread: they are small, and threads of several processes would fight for two cores."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
