"""Choose what a sweep of cLR-GAN searches, from where to where, and why.

The weight of the latent regression, whether D sees the input (no other term ties the output to it), the length of the
code, how often D moves, the learning rate. Left alone: the GAN term's weight of 1 (Adam does not see a factor that
all terms have) and the networks.

Two metrics give a Pareto front: `diversity` alone is best for noise, and `l1_best` (of twenty outputs,
the one nearest to the truth) keeps it honest. `latent` does not serve: G can hide a code where nobody sees it.

    python pipelines/tune.py --method clr_gan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform

SPACE = Space(
    method="clr_gan",
    parameters={
        "hyper.lambda_latent": log_uniform(
            0.05, 5, "0.5 in the paper; too small, G ignores the code; too large, G hides it in the image"
        ),
        "hyper.conditional_d": choice(
            (False, True), "false in the authors' code; then no term ties the output to the input"
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
            "hyper.lambda_latent": 0.5,
            "hyper.conditional_d": True,
            "hyper.z_dim": 8,
            "hyper.n_critic": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
