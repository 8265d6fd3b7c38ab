"""Choose what a sweep of DCGAN searches, from where to where, and why.

The balance of the game: rate, beta1, moves of D, and what codes are. Left alone: kernels, norms and
depth, which make it a DCGAN; the terms, because `--preset wgan` and `wgan_gp` are recipes of several values each.

`efficientnet_frechet` is the metric, which the presets measure: the distance of made images to real ones, together.
`diversity`, which needs no network, tells a collapse: nearly 0 where all codes give one image.

    python pipelines/tune.py --method dcgan --preset demo --evaluate-every 10000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform, uniform

SPACE = Space(
    method="dcgan",
    parameters={
        "hyper.lr": log_uniform(5e-5, 2e-3, "2e-4 in the paper, which found 1e-3 too high; small networks bear more"),
        "hyper.beta1": uniform(0.0, 0.9, "0.5 in the paper: with 0.9 training oscillated; WGAN-GP has 0"),
        "hyper.n_critic": integer(1, 5, "1 in the paper, 5 for critics; more costs as much time"),
        "hyper.z_dim": integer(16, 256, "100 in the paper; few numbers for simple data", log=True),
        "hyper.prior": choice(("normal", "uniform"), "uniform in the paper, normal in most programs since"),
    },
    metrics=("efficientnet_frechet",),
    guesses=({"hyper.lr": 5e-4},),
)
