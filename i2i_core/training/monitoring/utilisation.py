"""Measure how busy a worker's processor cores and GPU are."""

from __future__ import annotations

import logging
import time

import torch

logger = logging.getLogger(__name__)

CPU, GPU = "utilisation/cpu_cores", "utilisation/gpu_percent"


class Utilisation:
    """Measure how many processor cores this worker's process keeps busy, and how busy its GPU is.

    Args:
        device: where the networks are.
        says: whether this worker logs that NVML, which knows of GPUs, is not there.
    """

    def __init__(self, device: torch.device, says: bool) -> None:
        self.device, self.says = device, says
        self.on_gpu = device.type == "cuda"
        self.before = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """Give the mean number of busy cores since the last reading, and the GPU's utilisation now, in per cent.

        Data loaders are processes of their own and are not counted. Without NVML the GPU's number is 0.
        """
        now = time.monotonic(), time.process_time()
        seconds, busy = (after - before for after, before in zip(now, self.before, strict=True))
        self.before = now
        found = {CPU: busy / max(seconds, 1e-9)}
        return found | ({GPU: self._gpu()} if self.device.type == "cuda" else {})

    def _gpu(self) -> float:
        if not self.on_gpu:
            return 0.0
        try:
            return float(torch.cuda.utilization(self.device))
        except Exception as error:  # of NVML's package, or of an import of it
            self.on_gpu = False
            if self.says:
                logger.info(f"GPU utilisation is not shown ({error}); pip install nvidia-ml-py has it shown")
            return 0.0
