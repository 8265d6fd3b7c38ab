"""Choose what a sweep of UNIT searches, from where to where, and why.

The four weights beside the GAN terms, how often the discriminators move, the learning rate. Left alone: lambda_gan
(Adam cancels a factor that all terms share, so only ratios count), the architecture, weight decay. The paper's
weights are those of its tied networks, beside lambda_gan 10; with `--preset reference`, where all are a tenth, give
--lambda-gan 10.

`twin` is the metric, for CycleGAN's reason (tune_spaces/cyclegan.py): `cycle` is 0 if nothing changes.

    python pipelines/tune.py --method unit --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, integer, log_uniform

SPACE = Space(
    method="unit",
    parameters={
        "hyper.lambda_rec": log_uniform(
            10,
            1000,
            "100 in the paper; too small, codes do not hold the image; too large, the GAN terms have no effect",
        ),
        "hyper.lambda_kl": log_uniform(
            1e-3, 10, "0.1 in the paper; too small, the domains' codes separate; too large, codes are mere noise"
        ),
        "hyper.lambda_cyc": log_uniform(
            10, 1000, "100 in the paper; too small, any image of the domain will do; too large, nothing may change"
        ),
        "hyper.lambda_cyc_kl": log_uniform(1e-3, 10, "0.1 in the paper; as lambda_kl, for the translations' codes"),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each further move of D costs the generators a batch"),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "1e-4 in the paper, 1e-3 in the demo's small networks; lower is slow, higher oscillates"
        ),
    },
    metrics=("twin",),
    guesses=(
        {
            "hyper.lambda_rec": 100.0,
            "hyper.lambda_kl": 0.1,
            "hyper.lambda_cyc": 100.0,
            "hyper.lambda_cyc_kl": 0.1,
            "hyper.n_critic": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
