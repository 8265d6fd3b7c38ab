"""Where things run: the only folder that imports Ray."""

from i2i_core.orchestration import ray_compat

ray_compat.prepare_import()
