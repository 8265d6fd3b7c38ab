r"""Choose what a sweep of StarGAN searches, from where to where, and why.

The weights of class, reconstruction and gradient penalty, how often D moves, the learning rate of each player. Left
alone: lambda_id (the paper has none; the demo's small network needs it) and the networks. lambda_gp counts under
`--adversarial wgan-gp`, the default, only.

`there_and_back` by itself is 0 if nothing changes. So lambda_cls does not go so low, nor lambda_rec so high,
that doing nothing pays. With a classifier of the real images, which `evaluate.py --train-classifier --classifier FILE`
keeps, a sweep can be judged by both:

    python pipelines/tune.py --method stargan --preset demo --evaluate-every 1000 --samples 30
    python pipelines/tune.py --method stargan --data DATA --evaluate-every 10000 --samples 30 \
        --classifier FILE --metric accuracy there_and_back
"""

from i2i_core.search.space import Space, integer, log_uniform

SPACE = Space(
    method="stargan",
    parameters={
        "hyper.lambda_cls": log_uniform(
            0.3, 10, "1 in the paper; lower, G need not change the attribute; higher, it overdraws the attribute"
        ),
        "hyper.lambda_rec": log_uniform(
            3, 30, "10 in the paper; lower, G loses the person; higher, G gains by changing nothing"
        ),
        "hyper.lambda_gp": log_uniform(
            1, 100, "10 in the paper (WGAN-GP's own); lower, D is not Lipschitz and diverges; higher, D is too smooth"
        ),
        "hyper.n_critic": integer(1, 8, "5 in the paper, 2 in the demo; a better critic against fewer moves of G"),
        "hyper.g_lr": log_uniform(2e-5, 2e-3, "1e-4 in the paper, 5e-4 in the demo's small networks"),
        "hyper.d_lr": log_uniform(
            2e-5, 2e-3, "1e-4 in the paper; a critic faster than G may need fewer moves (n_critic)"
        ),
    },
    metrics=("there_and_back",),
    guesses=(
        {
            "hyper.lambda_cls": 1.0,
            "hyper.lambda_rec": 10.0,
            "hyper.lambda_gp": 10.0,
            "hyper.n_critic": 2,
            "hyper.g_lr": 5e-4,
            "hyper.d_lr": 5e-4,
        },
    ),
)
