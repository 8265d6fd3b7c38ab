"""What can be set of each method, and its presets: one file per method, which imports no torch. Importing this fills
`registry.METHODS`, and lets it find others."""

import i2i_core.config.outside  # noqa: F401
from i2i_core.config.methods import (  # noqa: F401  (one line per method registers it)
    bicyclegan,
    clr_gan,
    cvae_gan,
    cyclegan,
    pix2pix,
    pix2pix_noise,
    simgan,
    stargan,
    unit,
)
