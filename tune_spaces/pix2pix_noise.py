"""Choose what a sweep of pix2pix+noise searches, from where to where, and why.

How much L1 the method bears before G ignores its code, where the code goes in and how long it is, how often D moves,
the learning rate. Left alone: the GAN term's weight of 1 (Adam cancels a factor that all terms share) and the
networks.

Two metrics give a Pareto front: `diversity`, which the paper finds to be next to nothing, and `l1_best`
(of twenty outputs, the one nearest to the truth), without which noise would be best.

    python pipelines/tune.py --method pix2pix_noise --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform

SPACE = Space(
    method="pix2pix_noise",
    parameters={
        "hyper.lambda_l1": log_uniform(
            0.1, 100, "10 in the paper; at pix2pix's 100 G ignores the code; too small, little ties the output to b"
        ),
        "hyper.z_dim": integer(
            2, 64, "8 in the paper; a short code holds little, a long one is hard to draw from", log=True
        ),
        "hyper.z_at": choice(("all", "input"), "at every layer of G in the paper's best; at its input alone (Fig. 3)"),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each further move of D costs G a batch"),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; lower is slow, higher oscillates"
        ),
    },
    metrics=("l1_best", "diversity"),
    guesses=(
        {
            "hyper.lambda_l1": 10.0,
            "hyper.z_dim": 8,
            "hyper.z_at": "all",
            "hyper.n_critic": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
