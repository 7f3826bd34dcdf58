"""Everything that defines a run, resolved into one frozen object: preset < config file < command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from sb3_course import registry
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.config.text import read_values, to_words
from sb3_course.runs import presets
from sb3_course.runs.words import (
    OWN,
    Wrapper,
    check_classes,
    check_env_kwargs,
    check_monitor_kwargs,
    check_normalize,
    read_kwargs,
    read_normalize,
    read_wrappers,
)

#: Seeds lie below this: NumPy takes 32 bits, and evaluations add an offset of a million and the steps so far.
SEEDS = 2**31


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a run needs; two runs with equal settings on one machine end with equal weights.

    :param algo: a name from the registry
    :param env: an environment id
    :param n_timesteps: budget in environment steps, all environments together
    :param n_episodes: budget in training episodes; the run stops at whichever budget ends first
    :param seed: training environment i is seeded with `seed + i`, evaluations far away from those
    :param n_envs: training environments stepped together
    :param vec_env: `dummy` (one process) or `subproc` (a spawned process each)
    :param device: `auto`, `cpu`, `cuda`, ...
    :param policy: policy class by alias, or `module.Class`; by default the alias that fits the observations
    :param hyperparameters: what the algorithm's constructor is called with
    :param env_kwargs: what the environment is made with (JSON values)
    :param eval_env_kwargs: what it is made with for evaluations, where that is something else
    :param env_wrapper: wrappers around the monitor, so that scores stay the unwrapped reward
    :param vec_env_wrapper: wrappers around all environments together, below stacking and normalising
    :param monitor_kwargs: arguments of SB3's `Monitor`, such as `info_keywords`
    :param callback: callbacks beside the run's own
    :param normalize: arguments of `VecNormalize`, or None
    :param frame_stack: frames in one observation
    :param eval_freq: steps between evaluations (0: none); by default a twentieth of the budget
    :param eval_episodes: episodes of one evaluation
    :param final_episodes: episodes that the final score is the mean of
    :param n_eval_envs: environments that play an evaluation's episodes side by side; scores do not depend on it
    :param save_freq: steps between checkpoints (0: none); by default a tenth of the budget
    :param trained_agent: a model file whose weights and optimizer training starts from
    :param tensorboard_log: where TensorBoard's logs go, `<folder>/<env>/<Class>_<k>`
    :param log_interval: rollouts or episodes between rows of the log, -2 for none; None is the algorithm's own
    :param num_threads: threads of torch, or None for its own choice
    :param exact_budget: end at `n_timesteps` although SB3 would first fill the rollout in hand
    :raises InputError: when a value is out of its bounds
    """

    algo: str
    env: str
    n_timesteps: int | None = None
    n_episodes: int | None = None
    seed: int = 0
    n_envs: int = ARGUMENTS["n_envs"].default
    vec_env: str = ARGUMENTS["vec_env"].default
    device: str = ARGUMENTS["device"].default
    policy: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    eval_env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    env_wrapper: tuple[Wrapper, ...] = ()
    vec_env_wrapper: tuple[Wrapper, ...] = ()
    monitor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    callback: tuple[Wrapper, ...] = ()
    normalize: Mapping[str, Any] | None = None
    frame_stack: int = ARGUMENTS["frame_stack"].default
    eval_freq: int | None = None
    eval_episodes: int = ARGUMENTS["eval_episodes"].default
    final_episodes: int = ARGUMENTS["final_episodes"].default
    n_eval_envs: int = ARGUMENTS["n_eval_envs"].default
    save_freq: int | None = None
    trained_agent: str | None = None
    tensorboard_log: str | None = None
    log_interval: int | None = None
    num_threads: int | None = None
    exact_budget: bool = ARGUMENTS["exact_budget"].default

    def __post_init__(self) -> None:
        registry.find(self.algo)
        _check_text("env", self.env)
        for name in _COUNTS:
            object.__setattr__(self, name, _count(name, getattr(self, name)))
        if self.n_timesteps is None and self.n_episodes is None:
            raise InputError("n_timesteps", f"no budget is known for {self.algo} on {self.env}", want="-n STEPS")
        if self.vec_env not in ("dummy", "subproc"):
            raise InputError("vec_env", "unknown kind", self.vec_env, "dummy or subproc")
        if not isinstance(self.device, str) or not ARGUMENTS["device"].accepts(self.device):
            raise InputError("device", "unknown device", self.device, "auto, cpu, cuda, cuda:0 or mps")
        for name in ("policy", "trained_agent", "tensorboard_log"):
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
        if not isinstance(self.exact_budget, bool):
            raise InputError("exact_budget", "is neither", self.exact_budget, "true or false")
        check_normalize(self.normalize)
        for name in ("env_kwargs", "eval_env_kwargs"):
            check_env_kwargs(getattr(self, name), name)
        object.__setattr__(self, "monitor_kwargs", check_monitor_kwargs(self.monitor_kwargs))
        object.__setattr__(self, "hyperparameters", _check_hyperparameters(self.algo, self.hyperparameters))
        self._fill_in()

    def _fill_in(self) -> None:
        """Put what the budget decides in place of what nobody said, and None in place of the zoo's -1."""
        for name, otherwise in (("eval_freq", 5_000), ("save_freq", 20_000)):
            value = getattr(self, name)
            if value is None:
                value = otherwise if self.n_timesteps is None else share_of(self.n_timesteps, name)
            object.__setattr__(self, name, max(value, 0))  # the zoo writes -1 for "never"
        for name in ("log_interval", "num_threads"):  # here it means "as it is"
            if getattr(self, name) == 0:
                raise InputError(name, "is zero", 0, f"a number > 0, or {ARGUMENTS[name].least}")
            object.__setattr__(self, name, None if getattr(self, name) == -1 else getattr(self, name))

    @classmethod
    def resolve(cls, algo: str | None, env: str | None, *layers: Mapping[str, Any]) -> Settings:
        """Return the settings that result from `layers`, a later one over an earlier one, over the preset.

        A layer that names both an algorithm and an environment, as a run's `config.yaml` does, is complete: the preset
        is then left out, so that the file means the same however presets change.

        :param algo: a name from the registry, or None where a layer names it
        :param env: an environment id, or None where a layer names it
        :param layers: mappings with the keys of a config file
        :raises InputError: for an unknown key and for everything that `Settings` refuses
        """
        for layer in layers:
            if algo is not None and layer.get("algo", algo) != algo:
                raise InputError("algo", f"the config file is for {layer['algo']!r}", algo, "the same algorithm")
        complete = any("algo" in layer and "env" in layer for layer in layers)
        named = {"algo": algo, "env": env}
        for name in named:
            if named[name] is None:
                named[name] = next((layer[name] for layer in reversed(layers) if name in layer), None)
            if named[name] is None:
                raise InputError(f"--{name}", "is missing", want=f"--{name} NAME")
            _check_text(name, named[name])
        registry.find(str(named["algo"]))
        merged: dict[str, Any] = {} if complete else dict(presets.load(str(named["algo"]), str(named["env"])))
        for layer in layers:
            if "n_timesteps" in layer and "n_episodes" not in layer:
                merged.pop("n_episodes", None)  # the later layer says how long
            merged |= layer
        return cls.from_config({**merged, **named})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings that a flat mapping with the zoo's keys describes.

        :param config: run keys (`n_timesteps`, `n_envs`, `normalize`, ...) and hyperparameters side by side
        :raises InputError: for an unknown key and for everything that `Settings` refuses
        """
        values, hyperparameters = {}, {}
        for key, value in config.items():
            if key in RUN_KEYS:
                values[key] = value if key in _NAMES else _READERS.get(key, partial(read_values, field=key))(value)
            else:
                hyperparameters[key] = read_values(value, key)
        try:
            return cls(**values, hyperparameters=hyperparameters)
        except TypeError:
            missing = sorted({"algo", "env"} - values.keys())
            raise InputError(missing[0] if missing else "config", "is missing", want="both algo and env") from None

    def to_config(self) -> dict[str, Any]:
        """Return the flat mapping, in the words of a file, that `from_config` reads back as equal settings."""
        config = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "hyperparameters"}
        for name in _CLASSES:
            config[name] = [{each.name: to_words(each.kwargs)} if each.kwargs else each.name for each in config[name]]
        for name in _ARGUMENTS:
            config[name] = to_words(config[name])
        config["normalize"] = False if self.normalize is None else to_words(self.normalize) or True
        empty = {name for name, value in config.items() if value is None or value in ([], {})}
        hyperparameters: dict[str, Any] = to_words(self.hyperparameters)
        return {name: value for name, value in config.items() if name not in empty} | hyperparameters

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed, checked like a new one."""
        return dataclasses.replace(self, **changes)


_COUNTS = (
    "n_timesteps", "n_episodes", "seed", "n_envs", "frame_stack", "eval_freq", "eval_episodes", "final_episodes",
    "n_eval_envs", "save_freq", "log_interval", "num_threads",
)  # fmt: skip
#: How many evaluations and checkpoints a run has where nobody says.
SHARES = {"eval_freq": 20, "save_freq": 10}
_NAMES = ("algo", "env", "policy", "trained_agent", "tensorboard_log")  # never read as values
_OPTIONAL = ("n_timesteps", "n_episodes", "eval_freq", "save_freq", "log_interval", "num_threads")
_CLASSES = ("env_wrapper", "vec_env_wrapper", "callback")
_ARGUMENTS = ("env_kwargs", "eval_env_kwargs", "monitor_kwargs")
RUN_KEYS = {item.name for item in fields(Settings)} - {"hyperparameters"}
#: Run keys without a flag of their own: `-params` takes them, as it does in the zoo.
WITHOUT_FLAG = {"policy", "callback", "vec_env_wrapper", "monitor_kwargs", "exact_budget"}


_READERS: dict[str, Callable[[Any], Any]] = {
    "normalize": read_normalize,
    **{name: partial(read_wrappers, field=name) for name in _CLASSES},
    **{name: partial(read_kwargs, field=name) for name in _ARGUMENTS},
}


def share_of(n_timesteps: int, name: str) -> int:
    """Return how often a run of so many steps is evaluated or saved (`eval_freq`, `save_freq`) where nobody says."""
    return max(n_timesteps // SHARES[name], 1)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(name, "is not a name", value, "a word")


def _count(name: str, value: Any) -> int | None:
    low = ARGUMENTS[name].least
    if value is None and name in _OPTIONAL:
        return None
    if isinstance(value, float) and value.is_integer():  # the zoo writes budgets as 1e6
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(name, "is not an integer", value, f"an integer >= {low}")
    high = SEEDS if name == "seed" else 10**12
    if not low <= value < high:
        raise InputError(name, "is out of bounds", value, f"an integer >= {low} and < {high}")
    return value


def _check_hyperparameters(algo: str, values: Mapping[str, Any]) -> dict[str, Any]:
    for name in values:
        if name in OWN:
            raise InputError(name, "is not a hyperparameter", values[name], OWN[name])
        if name in ARGUMENTS:
            continue
        hint = did_you_mean(name, {*ARGUMENTS, *RUN_KEYS})  # slow: for unknown names alone
        if hint and hint == did_you_mean(name, RUN_KEYS):
            raise InputError(name, f"unknown key{hint}", values[name], "a key of a run or a hyperparameter")
    check_classes(values)
    return registry.check_params(algo, values)
