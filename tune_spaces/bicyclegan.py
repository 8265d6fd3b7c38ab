"""Choose what a sweep of BicycleGAN searches, from where to where, and why.

The three weights beside the GAN terms, the length of the code, how often the discriminators move, the learning rate.
Left alone: the GAN terms' weight of 1 (Adam cancels a factor that all terms share), where G reads the code, the
networks.

Two metrics give a Pareto front: `diversity` alone is best for noise, `l1_best` (of twenty outputs, the
one nearest to the truth) keeps it honest, and is itself bad for a G that ignores its code. lambda_kl weighs a sum
over the batch: divide it by 8 where the batch is 8.

    python pipelines/tune.py --method bicyclegan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, integer, log_uniform

SPACE = Space(
    method="bicyclegan",
    parameters={
        "hyper.lambda_l1": log_uniform(
            1, 100, "10 in the paper; too small, codes say nothing about b; at pix2pix's 100 G tends to ignore them"
        ),
        "hyper.lambda_latent": log_uniform(
            0.05, 5, "0.5 in the paper; too small, G ignores drawn codes; too large, G hides codes in the image"
        ),
        "hyper.lambda_kl": log_uniform(
            1e-4,
            0.1,
            "0.01 in the paper at batch 1; too small, drawn codes are unlike those of E; too large, E says nothing",
        ),
        "hyper.z_dim": integer(
            2, 64, "8 in the paper; a short code holds little, a long one is hard to draw from (sec. 5)", log=True
        ),
        "hyper.n_critic": integer(
            1, 3, "1 in the paper; each further move of D costs two batches of learning for G and E"
        ),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; lower is slow, higher oscillates"
        ),
    },
    metrics=("l1_best", "diversity"),
    guesses=(
        {
            "hyper.lambda_l1": 10.0,
            "hyper.lambda_latent": 0.5,
            "hyper.lambda_kl": 0.00125,
            "hyper.z_dim": 8,
            "hyper.n_critic": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
