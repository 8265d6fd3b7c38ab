"""Choose what a sweep of pixel loss + GAN searches, from where to where, and why.

The weight of the distance to the input, the history, the discriminator's strength, the terms, the learning rate. Left
alone: whether D's objective is halved (Adam cancels it), receptive field and sizes.

`twin` is the metric, for CycleGAN's reason (tune_spaces/cyclegan.py): `change` is 0 if nothing changes.

    python pipelines/tune.py --method pixel_gan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform

SPACE = Space(
    method="pixel_gan",
    parameters={
        "hyper.lambda_l1": log_uniform(
            0.1, 100, "10 in the paper; too small, any image of B will do; too large, nothing may change"
        ),
        "hyper.pool_size": integer(0, 200, "50 in the paper; 0: D forgets, and the players may circle", step=10),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each further move of D costs G a batch"),
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
            "hyper.lambda_l1": 10.0,
            "hyper.pool_size": 50,
            "hyper.n_critic": 1,
            "hyper.adversarial": "lsgan",
            "hyper.lr": 1e-3,
        },
    ),
)
