"""Run everything on Ray. No other folder imports it."""

from i2i_core.orchestration import ray_compat

ray_compat.prepare_import()
