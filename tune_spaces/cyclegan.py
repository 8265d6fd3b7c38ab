"""Choose what a sweep of CycleGAN searches, from where to where, and why.

The weights of cycle and identity against the GAN terms, the history, the discriminators' strength, the learning rate.
Left alone: lambda_gan (Adam cancels a factor that all terms share, so only ratios count), which cycles count (an
ablation), receptive field and sizes.

`twin` is the metric: the distance to the same thing in the other domain, which training never sees as a pair. It is
measured where the evaluated split holds such images, as that of the built-in glyphs does. Without twins there is no
number here that cannot be had for nothing: `cycle` is 0 if nothing changes. `--metric cycle` then needs a look
at `change` in the trials' evaluations, and at the grids.

    python pipelines/tune.py --method cyclegan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform, uniform

SPACE = Space(
    method="cyclegan",
    parameters={
        "hyper.lambda_cyc": log_uniform(
            1, 100, "10 in the paper; too small, any image of B will do (sec. 5.1.4); too large, nothing may change"
        ),
        "hyper.lambda_id": uniform(
            0, 1, "0 in the paper but for paintings, 0.5 there and in the authors' code; keeps colours (sec. 5.2)"
        ),
        "hyper.pool_size": integer(0, 200, "50 in the paper; 0: D forgets, and the players may circle", step=10),
        "hyper.n_critic": integer(
            1, 3, "1 in the paper; each further move of the discriminators costs G and F a batch"
        ),
        "hyper.adversarial": choice(
            ("lsgan", "nonsaturating", "hinge"), "least squares in the paper, found stabler than cross entropy (sec. 4)"
        ),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; lower is slow, higher oscillates"
        ),
    },
    metrics=("twin",),
    guesses=(
        {
            "hyper.lambda_cyc": 10.0,
            "hyper.lambda_id": 0.5,
            "hyper.pool_size": 50,
            "hyper.n_critic": 1,
            "hyper.adversarial": "lsgan",
            "hyper.lr": 1e-3,
        },
    ),
)
