"""Choose what a sweep of cVAE-GAN searches, from where to where, and why.

The weights of L1 and KL against the GAN term, the length of the code, how often the discriminator moves, the learning
rate. Left alone: the GAN term's weight of 1 (Adam cancels a factor that all terms share) and the networks.

Two metrics give a Pareto front: `diversity` alone is best for noise, and `l1_best` (of twenty outputs
from drawn codes, the one nearest to the truth) keeps it honest. `l1_encoded` would not do: it is best where the KL
term is nothing, and then drawn codes are none that G knows.

    python pipelines/tune.py --method cvae_gan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, integer, log_uniform

SPACE = Space(
    method="cvae_gan",
    parameters={
        "hyper.lambda_l1": log_uniform(
            1, 100, "10 in the paper; too small, codes say nothing about b; too large, the GAN term has no effect"
        ),
        "hyper.lambda_kl": log_uniform(
            1e-4,
            0.1,
            "0.01 in the paper at batch 1; too small, drawn codes are unlike those of E; too large, E says nothing",
        ),
        "hyper.z_dim": integer(
            2, 64, "8 in the paper; a short code holds little, a long one is hard to draw from (sec. 5)", log=True
        ),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each further move of D costs G and E a batch"),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; lower is slow, higher oscillates"
        ),
    },
    metrics=("l1_best", "diversity"),
    guesses=(
        {
            "hyper.lambda_l1": 10.0,
            "hyper.lambda_kl": 0.00125,
            "hyper.z_dim": 8,
            "hyper.n_critic": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
