"""What a sweep of BicycleGAN searches.

The three weights beside the GAN terms, the length of the code, how often the discriminators move, the learning rate.
Left alone: the GAN terms' weight of 1 (Adam does not see a factor that all terms have), where G reads the code, the
networks.

Two metrics, so the result is a Pareto front: `diversity` alone is best for noise, `l1_best` (of twenty outputs, the
one nearest to the truth) keeps it honest, and is itself bad for a G that ignores its code. lambda_kl weighs a sum
over the batch: divide it by 8 where the batch is 8.

    python pipelines/tune.py --method bicyclegan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, integer, log_uniform

SPACE = Space(
    method="bicyclegan",
    parameters={
        "hyper.lambda_l1": log_uniform(
            1, 100, "10 in the paper; small: codes tell nothing of b; at pix2pix's 100 G tends to ignore them"
        ),
        "hyper.lambda_latent": log_uniform(
            0.05, 5, "0.5 in the paper; small: drawn codes are ignored; large: codes hidden in the image"
        ),
        "hyper.lambda_kl": log_uniform(
            1e-4, 0.1, "0.01 in the paper at a batch of 1; small: drawn codes are none of E's; large: E says nothing"
        ),
        "hyper.z_dim": integer(
            2, 64, "8 in the paper; short holds little, long is hard to draw from (sec. 5)", log=True
        ),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each more is two batches that G and E do not learn from"),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; a tenth is slow, ten times swings"
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
