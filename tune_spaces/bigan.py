"""Choose what a sweep of BiGAN/ALI as a translator searches, from where to where, and why.

The history, the discriminator's strength, the terms, the learning rate. There is no weight to search: the adversarial
terms are all there is. Left alone: whether D's objective is halved (Adam cancels it), receptive field and sizes.

`twin` is the metric, for CycleGAN's reason (tune_spaces/cyclegan.py); `cycle` is no goal of this system.

    python pipelines/tune.py --method bigan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform

SPACE = Space(
    method="bigan",
    parameters={
        "hyper.pool_size": integer(0, 200, "50 in the paper; 0: D forgets, and the players may circle", step=10),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each further move of D costs G and E a batch"),
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
            "hyper.pool_size": 50,
            "hyper.n_critic": 1,
            "hyper.adversarial": "lsgan",
            "hyper.lr": 1e-3,
        },
    ),
)
