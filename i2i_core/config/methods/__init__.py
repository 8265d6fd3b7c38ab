"""Declare the options and presets of each method, one file per method, without torch.

Importing this package fills `registry.METHODS`, and lets the registry find methods outside of this tree.
"""

import i2i_core.config.outside  # noqa: F401
from i2i_core.config.methods import (  # noqa: F401  (one line per method registers it)
    bicyclegan,
    bigan,
    cgan,
    clr_gan,
    cogan,
    cvae_gan,
    cyclegan,
    dcgan,
    feature_gan,
    gan,
    pix2pix,
    pix2pix_noise,
    pixel_gan,
    simgan,
    stargan,
    unit,
)
