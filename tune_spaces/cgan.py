"""Choose what a sweep of the conditional GAN searches, from where to where, and why.

Rate, dropout, moves of D and the length of codes. Left alone: the widths, which only grow a network of linear layers,
and the optimiser, which presets choose together with its rate.

`efficientnet_frechet` is the metric, which the presets measure: the distance of made images to real ones, together.

    python pipelines/tune.py --method cgan --preset demo --evaluate-every 50000 --samples 30
"""

from i2i_core.search.space import Space, integer, log_uniform, uniform

SPACE = Space(
    method="cgan",
    parameters={
        "hyper.lr": log_uniform(1e-4, 0.3, "0.1 by SGD in the paper; with Adam (demo) the lower end"),
        "hyper.dropout": uniform(0.0, 0.7, "0.5 in the paper; small networks need less"),
        "hyper.n_critic": integer(1, 5, "1 in the paper (k of Alg. 1); more costs as much time"),
        "hyper.z_dim": integer(8, 256, "100 in the paper; few numbers for simple data", log=True),
    },
    metrics=("efficientnet_frechet",),
)
