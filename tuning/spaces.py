"""Search spaces as data: ranges that every algorithm shares, and the few that are an algorithm's own.

A range is written once, in `RANGES`, by the name of the argument it searches; a row of `SPACES` only names the
arguments. So two algorithms that both have an argument search the same range of it. A name with dots reaches into a
mapping (`policy_kwargs.net_arch`), and a name in `COMBINED` stands for something that two arguments say together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sb3_course import registry
from sb3_course.parameters import ARGUMENTS
from sb3_course.text import InputError, did_you_mean, read_value, read_values

Settings = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched: a range of numbers, or words to choose from.

    :param name: a constructor argument, a run key, or a name with dots
    :param low: smallest number
    :param high: largest number
    :param log: whether the logarithm is searched evenly
    :param choices: numbers, booleans, None, or text as a preset would have it
    :param default: what an algorithm has where neither its constructor nor a preset says
    :param when: (name, values): searched only where that other dimension, or key, has one of these values
    :raises InputError: for a range without numbers in it
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            if self.low is None or self.high is None or not self.low < self.high:
                got = f"{self.low} .. {self.high}"
                raise InputError(self.name, "low must be below high", got, "low < high, or choices")
            if self.log and self.low <= 0:
                raise InputError(self.name, "a logarithmic range begins above 0", self.low, "low > 0")
        argument = ARGUMENTS.get(self.name)
        if argument is None:
            return
        for value in self.choices or (self.low, self.high):
            if not argument.accepts(read_value(value) if isinstance(value, str) else value):
                raise InputError(self.name, "the range reaches beyond the argument's bounds", value, argument.wanted())

    @property
    def says(self) -> set[str]:
        """The keys of a preset that this dimension decides."""
        return set(_COMBINED_KEYS.get(self.name, (self.name.split(".")[0],)))

    @property
    def integer(self) -> bool:
        """Whether the range is one of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Any) -> Any:
        """Return what an Optuna trial suggests."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        suggest = trial.suggest_int if self.integer else trial.suggest_float
        return suggest(self.name, self.low, self.high, log=self.log)

    def nearest(self, value: Any) -> Any:
        """Return the value of this dimension that is nearest to one that a preset has."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not self.choices:
            clipped = min(max(value, self.low), self.high) if number else self.low
            return int(clipped) if self.integer else float(clipped)  # type: ignore[arg-type]
        if value in self.choices:
            return value
        numbers = [each for each in self.choices if isinstance(each, int | float) and not isinstance(each, bool)]
        return min(numbers, key=lambda each: abs(each - value)) if number and numbers else self.choices[0]

    def to_json(self) -> dict[str, Any]:
        """Return what identifies the dimension, without what is at its default."""
        found = {"low": self.low, "high": self.high, "log": self.log or None, "choices": list(self.choices) or None}
        found["when"] = None if self.when is None else [self.when[0], list(self.when[1])]
        return {"name": self.name} | {key: value for key, value in found.items() if value is not None}


_COMBINED_KEYS = {
    "learning_rate_schedule": ("learning_rate",), "updates_per_step": ("gradient_steps", "train_freq"),
    "support": ("v_min", "v_max"), "rollout": ("n_steps",),
}  # fmt: skip
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
        "rainbow": f"{_VALUE} {_PRIORITIZED} {_NOISY} {_ATOMS}",
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


def space_of(algo: str) -> tuple[Dimension, ...]:
    """Return the search space of a registered algorithm.

    :raises InputError: for an unknown algorithm, or one without a space
    """
    registry.find(algo)
    if algo not in SPACES:
        raise InputError("algo", "has no search space", algo, f"SPACES[{algo!r}] = ...")
    return SPACES[algo]


# ------------------------------------------------------------------------------- from suggestions to settings


def suggest(trial: Any, space: tuple[Dimension, ...], actions: str) -> dict[str, Any]:
    """Return the values of every active dimension, as an Optuna trial suggests them.

    :param trial: an `optuna.Trial`
    :param space: of the algorithm
    :param actions: class name of the action space, e.g. `Discrete`
    """
    found: dict[str, Any] = {}
    for dimension in space:
        if is_active(dimension, found, actions):
            found[dimension.name] = dimension.suggest(trial)
    return found


def is_active(dimension: Dimension, found: Mapping[str, Any], actions: str) -> bool:
    """Return whether a dimension's condition holds, given the values before it."""
    if dimension.when is None:
        return True
    name, values = dimension.when
    return (actions if name == "actions" else found.get(name)) in values


def to_settings(values: Mapping[str, Any]) -> Settings:
    """Return the keys of a preset that the values of a space say.

    :param values: name -> value, as `suggest` returns them
    """
    settings: Settings = {}
    for name, value in values.items():
        if name not in COMBINED:
            _put(settings, name, value)
    for name, (combine, _) in COMBINED.items():
        if name in values:
            combine(settings, values[name])
    if "batch_size" in settings and "rollout" in values:  # a batch is part of a rollout
        settings["batch_size"] = min(settings["batch_size"], settings["n_steps"] * settings.get("n_envs", 1))
    return settings


def from_settings(space: tuple[Dimension, ...], settings: Mapping[str, Any], algo: str, actions: str) -> dict[str, Any]:
    """Return the point of a space that is nearest to a preset, so that a sampler can learn from it.

    :param space: of the algorithm
    :param settings: keys of a preset; what is missing is the constructor's default
    :param algo: registry name
    :param actions: class name of the action space
    """
    known = read_values(dict(settings))
    defaults = {name: parameter.default for name, parameter in registry.constructor_arguments(algo).items()}
    found: dict[str, Any] = {}
    for dimension in space:
        if not is_active(dimension, found, actions):
            continue
        read = COMBINED[dimension.name][1] if dimension.name in COMBINED else None
        value = read({**defaults, **known}) if read else _get(known, dimension.name, defaults)
        found[dimension.name] = dimension.nearest(dimension.default if value is None else value)
    return found


def _put(settings: Settings, name: str, value: Any) -> None:
    *path, last = name.split(".")
    for key in path:
        settings = settings.setdefault(key, {})
    settings[last] = value


def _get(settings: Any, name: str, defaults: Mapping[str, Any]) -> Any:
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    value = defaults.get(name) if settings is None else settings
    value = getattr(value, "initial", value)  # a schedule's start
    return repr(value) if isinstance(value, list) or type(value).__name__ == "Named" else value


def _share(settings: Settings, value: Any) -> None:
    settings["gradient_steps"] = max(round(settings["train_freq"] * value), 1)


def _read_share(settings: Mapping[str, Any]) -> float:
    steps, freq = settings["gradient_steps"], settings["train_freq"]
    freq = freq[0] if isinstance(freq, tuple) else freq
    return 1.0 if steps < 0 else float(steps / freq)


def _schedule(settings: Settings, value: Any) -> None:
    if value == "linear":
        settings["learning_rate"] = f"lin_{settings['learning_rate']!r}"


def _support(settings: Settings, value: Any) -> None:
    settings["v_min"] = 0.0 if value == "from 0" else -settings["v_max"]


#: name -> (what it makes of the settings, how it is read from a preset)
COMBINED: dict[str, tuple[Callable[[Settings, Any], None], Callable[[Mapping[str, Any]], Any]]] = {
    "learning_rate_schedule": (
        _schedule, lambda known: "linear" if hasattr(known["learning_rate"], "initial") else "constant",
    ),
    "updates_per_step": (_share, _read_share),
    "support": (_support, lambda known: "from 0" if known["v_min"] == 0 else "symmetric"),
    "rollout": (lambda settings, value: settings.update(n_steps=value), lambda known: known["n_steps"]),
}  # fmt: skip
