"""Choose what a sweep of CoGAN searches, from where to where, and why.

The balance of the game, the prior, and whether D's batches are mixed. Left alone: which layers are shared, which makes
it a CoGAN, and the search of the translation, which costs time and is no part of the training.

`twin` is the metric, for CycleGAN's reason (tune_spaces/cyclegan.py). Each evaluation is a search for every image: take
few samples.

    python pipelines/tune.py --method cogan --preset demo --evaluate-every 20000 --evaluate-samples 32 --samples 30
"""

from i2i_core.search.space import Space, choice, integer, log_uniform, uniform

SPACE = Space(
    method="cogan",
    parameters={
        "hyper.lr": log_uniform(5e-5, 2e-3, "2e-4 in the authors' program; small networks bear more"),
        "hyper.beta1": uniform(0.0, 0.9, "0.5 in the authors' program"),
        "hyper.n_critic": integer(1, 3, "1 in the authors' program; more costs as much time"),
        "hyper.prior": choice(("normal", "uniform"), "uniform in the program for photos, normal in that for digits"),
        "hyper.d_batch": choice(("apart", "mixed"), "mixed in the authors' program; apart is what most advise"),
    },
    metrics=("twin",),
    guesses=({"hyper.lr": 5e-4},),
)
