"""Search spaces as data: ranges that every algorithm shares, and the few that are an algorithm's own.

A range is written once, in `RANGES`, by the name of the argument it searches; a row of `SPACES` only names the
arguments. So two algorithms that both have an argument search the same range of it. A name with dots reaches into a
mapping (`policy_kwargs.net_arch`), and a name in `translate.COMBINED` stands for what several arguments say together.
"""

from __future__ import annotations

from dataclasses import replace

from sb3_course import registry
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.tuning.dimension import Dimension

_MLP = ("MlpPolicy", "GaussianMlpPolicy")

RANGES: dict[str, Dimension] = {
    dimension.name: dimension
    for dimension in (
        # the same for all
        Dimension("learning_rate", 1e-5, 1e-2, log=True),
        Dimension("learning_rate_schedule", choices=("constant", "linear"), default="constant"),
        Dimension("gamma", choices=(0.9, 0.95, 0.98, 0.99, 0.995, 0.999)),
        Dimension("policy_kwargs.net_arch", choices=("[64, 64]", "[128, 128]", "[256, 256]"), default="[64, 64]"),
        Dimension("batch_size", choices=(16, 32, 64, 128, 256)),
        # off-policy
        Dimension("learning_starts", choices=(100, 1000)),
        Dimension("train_freq", choices=(4, 16, 64, 128, 256)),
        Dimension("updates_per_step", choices=(0.25, 0.5, 1.0), default=1.0),
        Dimension("target_update_interval", 10, 10_000, log=True),
        Dimension("exploration_fraction", 0.05, 0.5),
        Dimension("exploration_final_eps", 0.01, 0.2),
        Dimension("n_steps", 1, 10),
        Dimension("tau", choices=(0.001, 0.005, 0.01, 0.02, 0.05)),
        Dimension("noise_type", choices=(None, "normal", "ornstein-uhlenbeck")),
        Dimension("noise_std", 0.01, 0.5, log=True, default=0.1, when=("noise_type", ("normal", "ornstein-uhlenbeck"))),
        Dimension("policy_delay", 1, 4),
        Dimension("target_policy_noise", 0.0, 0.5),
        # the ideas of the value family
        Dimension("alpha", 0.0, 0.9),
        Dimension("beta0", 0.2, 1.0),
        Dimension("policy_kwargs.noisy_kwargs.sigma0", 0.01, 1.0, log=True, default=0.5),
        Dimension("n_atoms", choices=(21, 51, 101)),
        Dimension("v_max", 5.0, 500.0, log=True),
        Dimension("support", choices=("from 0", "symmetric"), default="symmetric"),
        Dimension("n_quantiles", choices=(10, 25, 50, 100, 200)),
        Dimension("n_levels", choices=(8, 16, 32, 64), default=64),
        Dimension("n_target_levels", choices=(8, 16, 32, 64), default=64),
        Dimension("munchausen_tau", 0.003, 0.3, log=True, default=0.03),
        Dimension("munchausen_alpha", 0.0, 0.99, default=0.9),
        Dimension("policy_kwargs.n_quantiles", choices=(10, 25, 50, 100, 200), default=200),
        Dimension("exploration_decay", choices=(0.9, 0.99, 0.995, 0.999)),
        Dimension("learning_rate_decay", choices=(0.99, 0.995, 0.999, 1.0)),
        Dimension("decay_unit", choices=("sample", "replay")),
        Dimension("policy_kwargs.optimizer_class", choices=("th.optim.Adam", "th.optim.SGD"), default="th.optim.Adam"),
        # policy gradients and actor-critics
        Dimension("n_envs", choices=(1, 2, 4, 8, 16), default=1),
        Dimension("episodes_per_update", choices=(1, 2, 4, 8, 16)),
        Dimension("rollout", choices=(5, 8, 16, 32, 64, 128, 256), default=64),
        Dimension("gae_lambda", choices=(0.8, 0.9, 0.95, 0.98, 1.0)),
        Dimension("ent_coef", choices=(0.0, 1e-4, 1e-3, 0.01, 0.1)),
        Dimension("vf_coef", 0.1, 1.0),
        Dimension("max_grad_norm", choices=(0.3, 0.5, 1.0, 2.0, 5.0)),
        Dimension("normalize_advantage", choices=(False, True)),
        Dimension("q_lambda", choices=(0.0, 0.3, 0.65, 0.8, 0.95)),
        Dimension("n_epochs", choices=(1, 5, 10, 20)),
        Dimension("clip_range", choices=(0.1, 0.2, 0.3, 0.4)),
        Dimension("target_kl", choices=(0.001, 0.005, 0.01, 0.02, 0.05)),
        Dimension("policy", choices=_MLP, default="MlpPolicy", when=("actions", ("Box",))),
        Dimension("policy_kwargs.log_std_init", -1.0, 2.0, default=0.0, when=("actions", ("Box",))),
        # random search among the weights
        Dimension("n_delta", choices=(4, 8, 16, 32)),
        Dimension("delta_std", 0.01, 0.3, log=True),
    )
}


def dimensions(names: str) -> tuple[Dimension, ...]:
    """Return the rows of `RANGES` that the words of `names` name.

    :raises InputError: for a name that has no range
    """
    for name in names.split():
        if name not in RANGES:
            raise InputError("space", f"no range is known{did_you_mean(name, RANGES)}", name, "a name in RANGES")
    return tuple(RANGES[name] for name in names.split())


_ALL = "learning_rate learning_rate_schedule gamma policy_kwargs.net_arch"
_REPLAY = f"{_ALL} batch_size learning_starts train_freq updates_per_step n_steps"
_EPSILON = "exploration_fraction exploration_final_eps"
_VALUE = f"{_REPLAY} target_update_interval"
_NOISY, _PRIORITIZED = "policy_kwargs.noisy_kwargs.sigma0", "alpha beta0"
_ATOMS = "n_atoms v_max support"
_CONTINUOUS = f"{_REPLAY} noise_type noise_std"
_ON_POLICY = f"{_ALL} n_envs ent_coef policy_kwargs.log_std_init"
_EPISODES = f"{_ON_POLICY} policy episodes_per_update"
_CRITIC = "gae_lambda vf_coef max_grad_norm normalize_advantage"

#: What is searched for each algorithm; an own algorithm is one more entry.
SPACES: dict[str, tuple[Dimension, ...]] = {
    name: dimensions(names)
    for name, names in {
        "q_table": f"learning_rate gamma {_EPSILON}",
        "neural_q": f"{_ALL} {_EPSILON}",
        "numpy_dqn": "learning_rate gamma policy_kwargs.net_arch exploration_final_eps exploration_decay "
        "learning_rate_decay decay_unit policy_kwargs.optimizer_class",
        "dqn": f"{_VALUE} {_EPSILON}",
        "double_dqn": f"{_VALUE} {_EPSILON}",
        "dueling_dqn": f"{_VALUE} {_EPSILON}",
        "per_dqn": f"{_VALUE} {_EPSILON} {_PRIORITIZED}",
        "nstep_dqn": f"{_VALUE} {_EPSILON}",
        "noisy_dqn": f"{_VALUE} {_NOISY}",
        "c51": f"{_VALUE} {_EPSILON} {_ATOMS}",
        "quantile_dqn": f"{_VALUE} {_EPSILON} n_quantiles",
        "iqn": f"{_VALUE} {_EPSILON} n_levels n_target_levels",
        "munchausen_dqn": f"{_VALUE} {_EPSILON} munchausen_tau munchausen_alpha",
        "rainbow": f"{_VALUE} {_PRIORITIZED} {_NOISY} {_ATOMS}",
        "btr": f"{_VALUE} {_EPSILON} {_PRIORITIZED} {_NOISY} n_levels n_target_levels munchausen_tau munchausen_alpha",
        "pqn": f"{_ALL} {_EPSILON} n_envs rollout batch_size n_epochs q_lambda max_grad_norm",
        "qrdqn": f"{_VALUE} {_EPSILON} policy_kwargs.n_quantiles",
        "vpg": _EPISODES,
        "reinforce": _EPISODES,
        "reinforce_baseline": f"{_EPISODES} vf_coef normalize_advantage",
        "actor_critic": f"{_ON_POLICY} policy vf_coef max_grad_norm",
        "a3c": f"{_ALL} ent_coef policy_kwargs.log_std_init policy rollout {_CRITIC}",
        "a2c": f"{_ON_POLICY} rollout {_CRITIC}",
        "ppo": f"{_ON_POLICY} rollout {_CRITIC} batch_size n_epochs clip_range",
        "trpo": f"{_ALL} n_envs policy_kwargs.log_std_init rollout gae_lambda normalize_advantage batch_size target_kl",
        "ddpg": f"{_CONTINUOUS} tau",
        "td3": f"{_CONTINUOUS} tau policy_delay target_policy_noise",
        "sac": f"{_CONTINUOUS} tau",
        "tqc": f"{_CONTINUOUS} tau",
        "crossq": f"{_CONTINUOUS} policy_delay",
        "ars": "learning_rate learning_rate_schedule n_delta delta_std policy_kwargs.net_arch",
    }.items()
}
for _name in ("q_table", "ars"):  # steps of a table and of random search are no gradient steps of a network
    SPACES[_name] = (replace(RANGES["learning_rate"], low=1e-3, high=1.0), *SPACES[_name][1:])
for _name in ("ddpg", "td3", "sac", "tqc", "crossq"):  # their networks are larger where nothing is said
    SPACES[_name] = tuple(
        replace(each, default="[256, 256]") if each.name == "policy_kwargs.net_arch" else each for each in SPACES[_name]
    )


def space_of(algo: str) -> tuple[Dimension, ...]:
    """Return the search space of a registered algorithm.

    :raises InputError: for an unknown algorithm, or one without a space
    """
    registry.find(algo)
    if algo not in SPACES:
        raise InputError("algo", "has no search space", algo, f"SPACES[{algo!r}] = ...")
    return SPACES[algo]
