"""Choose what a sweep of feature loss + GAN searches, from where to where, and why.

The weight of the distance to the input's features, the history, the discriminator's strength, the terms, the learning
rate. Left alone: the trained network, its weights and the size at which it sees images, without which a weight says
nothing; receptive field and sizes.

`twin` is the metric, for CycleGAN's reason (tune_spaces/cyclegan.py): `change` is 0 if nothing changes.

    python pipelines/tune.py --method feature_gan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform

SPACE = Space(
    method="feature_gan",
    parameters={
        "hyper.lambda_perceptual": log_uniform(
            0.01, 100, "10 in the paper, of which its program's gradient had 1/16,256; it depends on the network"
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
            "hyper.lambda_perceptual": 10.0,
            "hyper.pool_size": 50,
            "hyper.n_critic": 1,
            "hyper.adversarial": "lsgan",
            "hyper.lr": 1e-3,
        },
    ),
)
