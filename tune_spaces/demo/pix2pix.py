"""Choose what `make sweep-demo` searches: the weight of pix2pix's L1 term and its learning rate.

`l1` is the metric, which is quick to measure; tune_spaces/pix2pix.py says why a longer sweep takes another.
"""

from i2i_core.search.space import Space, log_uniform

SPACE = Space(
    method="pix2pix",
    parameters={
        "hyper.lambda_l1": log_uniform(10, 1000, "a tenth to ten times the paper's 100"),
        "hyper.lr": log_uniform(5e-5, 5e-3, "the paper's 2e-4 is slow for a run of 200 updates"),
    },
    metrics=("l1",),
)
