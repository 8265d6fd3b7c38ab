"""What a sweep of cLR-GAN searches.

The weight of the latent regression, whether D sees the input (no other term ties the output to it), the length of the
code, how often D moves, the learning rate. Left alone: the GAN term's weight of 1 (Adam does not see a factor that
all terms have) and the networks.

Two metrics, so the result is a Pareto front: `diversity` alone is best for noise, and `l1_best` (of twenty outputs,
the one nearest to the truth) keeps it honest. `latent` would not do: a code can be hidden where nobody sees it.

    python pipelines/tune.py --method clr_gan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform

SPACE = Space(
    method="clr_gan",
    parameters={
        "hyper.lambda_latent": log_uniform(
            0.05, 5, "0.5 in the paper; small: the code is ignored; large: it is hidden in the image"
        ),
        "hyper.conditional_d": choice((False, True), "the authors' D does not see the input; then nothing here ties"),
        "hyper.z_dim": integer(
            2, 64, "8 in the paper; short holds little, long is hard to draw from (sec. 5)", log=True
        ),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each more is a batch that G and E do not learn from"),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; a tenth is slow, ten times swings"
        ),
    },
    metrics=("l1_best", "diversity"),
    guesses=(
        {
            "hyper.lambda_latent": 0.5,
            "hyper.conditional_d": True,
            "hyper.z_dim": 8,
            "hyper.n_critic": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
