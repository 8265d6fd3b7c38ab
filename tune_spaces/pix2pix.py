"""Choose what a sweep of pix2pix searches, from where to where, and why.

The weight of L1 against the cGAN term, the strength of the discriminator, the learning rate and the dropout. Left
alone: the receptive field and the objective (ablations to look at, sec. 4.2 and 4.4, and not every image size has
them all) and the networks' sizes (larger is better, and dearer). The GAN term keeps its weight of 1: Adam does not
see a factor that all terms have, so only the ratio counts.

`ssim` is the metric: l1 and psnr are best for the blurred mean of all answers, to which a large lambda_l1 leads. A
photo's look is not in any of the three: compare the grids of the best trials.

    python pipelines/tune.py --method pix2pix --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform, uniform

SPACE = Space(
    method="pix2pix",
    parameters={
        "hyper.lambda_l1": log_uniform(
            1,
            1000,
            "100 in the paper; without it artefacts, by itself blur (sec. 4.2); the ends of the range come near both",
        ),
        "hyper.lr": log_uniform(
            2e-5, 2e-3, "2e-4 in the paper, 1e-3 in the demo's small networks; lower is slow, higher oscillates"
        ),
        "hyper.n_critic": integer(1, 3, "1 in the paper; each further move of D costs G a batch"),
        "hyper.dropout": uniform(0, 0.7, "0.5 in the paper; 0 makes G deterministic, above 0.7 little signal is left"),
        "hyper.adversarial": choice(
            ("nonsaturating", "lsgan", "hinge"), "cross entropy in the paper; least squares and hinge came after"
        ),
    },
    metrics=("ssim",),
    guesses=(
        {
            "hyper.lambda_l1": 100.0,
            "hyper.lr": 1e-3,
            "hyper.n_critic": 1,
            "hyper.dropout": 0.5,
            "hyper.adversarial": "nonsaturating",
        },
    ),
)
