"""Choose what a sweep of SimGAN searches, from where to where, and why.

The weight of what refining must keep, the size of the history (the paper gives none), how often each player moves,
the learning rate. Left alone: psi (another measure needs another lambda), the warm-ups, the networks.

`twin` is the metric: the distance of a refined image to the real one of the same thing, where the evaluated split has
it, as that of the built-in glyphs does. On other data, `change` alone says how far refining goes and not how well:
judge by what the refined images are for, a network trained on them.

A history of 51,200 grey images of 55x35 takes 0.4 GB; for hand pose (224x224) copy this file and lower that end.

    python pipelines/tune.py --method simgan --preset demo --evaluate-every 1000 --samples 30
"""

from i2i_core.search.space import Space, integer, log_uniform

SPACE = Space(
    method="simgan",
    parameters={
        "hyper.lambda_reg": log_uniform(
            1e-5,
            0.1,
            "1e-4 in the preset, a sum over pixels; too small loses the annotation; too large refines nothing",
        ),
        "hyper.history_size": integer(
            16,
            51_200,
            "not given in the paper, a hundred batches in the preset; if short, artefacts come back (sec. 2.3)",
            log=True,
        ),
        "hyper.k_g": integer(1, 50, "2 in the paper, 50 in its first version", log=True),
        "hyper.k_d": integer(1, 5, "1 in the paper; more, and D is so sure that R's gradient is large or none"),
        "hyper.lr": log_uniform(1e-4, 1e-2, "1e-3 in the paper; lower is slow, higher oscillates"),
    },
    metrics=("twin",),
    guesses=(
        {
            "hyper.lambda_reg": 0.02,
            "hyper.history_size": 1_600,
            "hyper.k_g": 2,
            "hyper.k_d": 1,
            "hyper.lr": 1e-3,
        },
    ),
)
