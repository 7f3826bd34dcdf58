"""The one table of arguments: type, bounds, help, default and where the default comes from.

Constructors and the command line validate with it, `--help` and the documentation print it, search spaces read it.
Importing it is cheap: neither torch nor Stable-Baselines3, and pydantic only at the first check.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, Lt, Predicate

from sb3_course.config.argument import PER_ALGORITHM, Argument, unwrap
from sb3_course.config.argument_types import (
    Auto,
    Count,
    Device,
    Every,
    EveryUpdate,
    Fraction,
    NonNegative,
    Options,
    Positive,
    Schedule,
)
from sb3_course.config.errors import InputError
from sb3_course.config.policy_arguments import policy_rows

__all__ = ["ARGUMENTS", "PER_ALGORITHM", "Argument", "Row", "check", "describe", "flag_help", "normalise"]

# ------------------------------------------------------------------------------------------------------- rows

_DQN = "SB3 DQN"
_NATURE = "SB3 DQN; Mnih et al. 2015"
_SCRATCH = "the course's DQN with only NumPy"


def _value_family() -> list[Argument]:
    a = Argument
    return [
        a("policy", str | type[Any], "policy class or alias (MlpPolicy, CnnPolicy, ...)", "MlpPolicy", "zoo"),
        a("learning_rate", Positive | Schedule, "step size of the optimizer, or a schedule of it", 1e-4, _DQN),
        a("buffer_size", Count, "transitions the replay memory holds", 1_000_000, _NATURE),
        a("learning_starts", Annotated[int, Ge(0)], "environment steps before the first update", 100, _DQN),
        a("batch_size", Count, "transitions per update", 32, _NATURE),
        a("tau", Fraction, "share of the online weights in the target at each synchronisation", 1.0, _DQN),
        a("gamma", Fraction, "discount factor", 0.99, _NATURE),
        a("train_freq", Every, "update every so many steps, or (k, 'step' | 'episode')", 4, _NATURE),
        a("gradient_steps", Annotated[int, Ge(-1)], "updates each time; -1: as many as steps were taken", 1, _DQN),
        a("replay_buffer_class", type[Any] | None, "class of the replay buffer", None, _DQN),
        a("replay_buffer_kwargs", Options, "keyword arguments of the replay buffer", None, _DQN),
        a("optimize_memory_usage", bool, "store each observation once", False, _DQN),
        a("frame_replay", Literal["auto"] | bool, "keep each frame of stacked images once; auto: where there are such",
          "auto", "Dopamine; sb3_course"),
        a("n_steps", Count | None, "steps of the return (value family), or of a rollout", 1, _DQN),
        a(
            "target_update_interval", EveryUpdate, "synchronise the target every so many environment steps, or "
            "(k, 'step' | 'update' | 'episode'); a third number is the first time", 10_000, _NATURE,
        ),
        a("exploration_fraction", Fraction, "share of training over which epsilon falls", 0.1, _DQN),
        a("exploration_initial_eps", Fraction, "epsilon at the start", 1.0, _NATURE),
        a("exploration_final_eps", Fraction, "epsilon at the end of its fall", 0.05, _DQN),
        a("max_grad_norm", Positive | None, "largest norm of the gradient; None, inf: any", 10, _DQN, finite=False),
        a("exploration_end", Fraction | None, "share of training after which epsilon is 0; None: never, with noise at "
          "once", None, "off = DQN; Clark et al. 2024: 0.5"),
        a("double", bool, "the online network picks the next action, the target network rates it", False,
          "off = DQN; van Hasselt et al. 2016"),
        a("dueling", bool, "separate streams for the state value and the advantages", False,
          "off = DQN; Wang et al. 2016"),
        a("noisy", bool, "explore by noise on the weights instead of epsilon", False,
          "off = DQN; Fortunato et al. 2018"),
        a("prioritized", bool, "replay transitions with large errors more often", False,
          "off = DQN; Schaul et al. 2016"),
        a("alpha", NonNegative, "exponent of the priorities; 0: uniform", 0.6, "Schaul et al. 2016, table 3"),
        a("beta0", Fraction, "exponent of the importance weights at the start; it rises to 1", 0.4,
          "Schaul et al. 2016, table 3"),
        a("munchausen", bool, "soft targets, and the policy's own log probability as a reward", False,
          "off = DQN; Vieillard et al. 2020"),
        a("munchausen_tau", Positive, "temperature of the soft policy", 0.03, "Vieillard et al. 2020, section 4"),
        a("munchausen_alpha", Fraction, "share of the log probability in the reward; 0: soft value iteration", 0.9,
          "Vieillard et al. 2020, section 4"),
        a("munchausen_clip", float, "least log probability, times tau, that is a reward", -1.0,
          "Vieillard et al. 2020, section 4"),
        a("warmup", Literal["random", "policy"], "actions before learning starts: at random, or epsilon-greedy at once",
          "random", _DQN),
        a("exploration_decay", Fraction, "factor of epsilon for each decay_unit", 0.995, _SCRATCH),
        a("learning_rate_decay", Fraction, "factor of the learning rate for each decay_unit", 0.995, _SCRATCH),
        a("learning_rate_floor", NonNegative, "the learning rate decays no further", 1e-4, _SCRATCH),
        a("decay_unit", Literal["sample", "replay"], "what the decays count: transitions replayed, or calls of train",
          "sample", _SCRATCH),
        a("learning_rate_decay_unit", Literal["sample", "replay"] | None,
          "what the decay of the learning rate counts; None: decay_unit", None, "sb3_course"),
        a("exploration_ladder", NonNegative, "env i of E explores with epsilon^(1 + this * i / (E - 1))", 0.0,
          "off = DQN; Horgan et al. 2018: 7"),
        a("risk", str, "what the greedy choice compares: mean, cvar:0.25, wang:-0.75, ... (of a distribution)", "mean",
          "mean = DQN; Dabney et al. 2018"),
        a("backend", Literal["auto", "torch", "numpy"], "who does the arithmetic of the update", "auto", "sb3_course"),
        a("backend_kwargs", Options, "switches of the torch backend, dict(amp=True, compile=True, channels_last=True)",
          None, "off = DQN"),
        a("stats_window_size", Count, "episodes averaged in the log", 100, "SB3"),
        a("tensorboard_log", str | Path | None, "folder of TensorBoard's logs", None, "SB3"),
        a("policy_kwargs", Options, "keyword arguments of the policy, e.g. dict(net_arch=[64, 64])", None, "SB3"),
        a("verbose", Annotated[int, Ge(0), Le(2)] | bool, "0 silent, 1 information, 2 debug", 0, "SB3"),
        a("seed", Annotated[int, Ge(0), Lt(2**32)] | None, "seed of every random generator", None, "SB3"),
        a("device", Device, "auto, cpu, cuda, cuda:0, ...", "auto", "SB3", want="auto, cpu, cuda, cuda:0, mps, ..."),
    ]  # fmt: skip


def _other_algorithms() -> list[Argument]:
    def a(name: str, kind: Any, text: str, want: str | None = None) -> Argument:
        return Argument(name, kind, text, PER_ALGORITHM, "SB3 / sb3-contrib", "sb3", want=want)

    baseline = Literal["none", "value", "mean"] | float
    return [
        a("episodes_per_update", Count, "finished episodes before an update, when n_steps is None"),
        a("n_workers", Count | None, "processes that learn at once; None: one for each env"),
        a("psi", Literal["total_return", "reward_to_go", "gae"], "what weighs the gradient of an action"),
        a("baseline", baseline, "subtracted from a return", "'none', 'value', 'mean' or a number"),
        a("discount_states", bool, "the factor gamma^t of the discounted policy gradient"),
        a("gae_lambda", Fraction, "bias against variance in generalized advantage estimation"),
        a("ent_coef", NonNegative | Auto, "weight of the entropy bonus", "a number >= 0, 'auto' or 'auto_<number>'"),
        a("vf_coef", NonNegative, "weight of the value loss"),
        a("n_epochs", Count, "passes over each rollout"),
        a("q_lambda", Fraction, "lambda of the Q(lambda) returns: how much of the next return is in a target"),
        a("clip_range", Positive | Schedule, "how far the probability ratio may move, or a schedule of it"),
        a("clip_range_vf", Positive | Schedule | None, "how far the value may move; None: not clipped"),
        a("normalize_advantage", bool, "standardise the advantages of each batch"),
        a("target_kl", Positive | None, "stop updating beyond this divergence"),
        a("rms_prop_eps", Positive, "epsilon of RMSprop"),
        a("use_rms_prop", bool, "RMSprop instead of Adam"),
        a("use_sde", bool, "state-dependent exploration (gSDE)"),
        a("sde_sample_freq", Annotated[int, Ge(-1)], "draw the gSDE noise every so many steps; -1: once a rollout"),
        a("use_sde_at_warmup", bool, "gSDE instead of uniform actions before learning starts"),
        a("rollout_buffer_class", type[Any] | None, "class of the rollout buffer"),
        a("rollout_buffer_kwargs", Options, "keyword arguments of the rollout buffer"),
        a("action_noise", Any, "noise added to the actions, an ActionNoise"),
        a("policy_delay", Count, "critic updates for each actor update"),
        a("target_policy_noise", NonNegative, "standard deviation of the noise on target actions"),
        a("target_noise_clip", NonNegative, "largest noise on target actions"),
        a("target_entropy", float | Literal["auto"], "entropy that a learned coefficient aims at"),
        a("top_quantiles_to_drop_per_net", Annotated[int, Ge(0)], "largest quantiles left out of the target"),
        a("cg_max_steps", Count, "steps of conjugate gradients"),
        a("cg_damping", NonNegative, "damping of the Fisher matrix"),
        a("line_search_shrinking_factor", Annotated[float, Gt(0), Lt(1)], "shrinking of the line search"),
        a("line_search_max_iter", Count, "steps of the line search"),
        a("n_critic_updates", Count, "critic updates for each policy update"),
        a("sub_sampling_factor", Count, "use one transition in so many for the Fisher matrix"),
        a("n_delta", Count, "directions tried in each generation"),
        a("n_top", Count | None, "best directions kept; None: all"),
        a("delta_std", Positive | Schedule, "standard deviation of the perturbations, or a schedule of it"),
        a("zero_policy", bool, "start from zero weights"),
        a("alive_bonus_offset", float, "added to every reward during training"),
        a("n_eval_episodes", Count, "episodes to rate each direction"),
        # SB3 takes 1e5 as well.
        a("total_timesteps", Annotated[float, Ge(0), Predicate(float.is_integer)], "environment steps of one call "
          "of learn", "a whole number >= 0"),
    ]  # fmt: skip


def _run_keys() -> list[Argument]:
    def a(name: str, kind: Any, text: str, default: Any = None, source: str = "zoo") -> Argument:
        return Argument(name, kind, text, default, source, "run")

    wrapper = str | dict[str, Any] | list[str | dict[str, Any]] | None
    return [
        a("n_timesteps", Count, "environment steps of training"),
        a("n_episodes", Count | None, "episodes of training, in place of steps", None, "sb3_course"),
        a("n_envs", Count, "environments side by side", 1),
        a("env_wrapper", wrapper, "wrapper class (module:Class), or a list of them, with arguments as a mapping"),
        a("vec_env_wrapper", wrapper, "the same for wrappers of the vectorised environment"),
        a("env_kwargs", Options, "keyword arguments of the environment"),
        a("eval_env_kwargs", Options, "the same for evaluations, in place of env_kwargs"),
        a("monitor_kwargs", Options, "keyword arguments of the monitor, dict(info_keywords=('is_success',))"),
        a("callback", wrapper, "callback class (module:Class), or a list of them, with arguments as a mapping"),
        a("normalize", bool | dict[str, Any], "VecNormalize, with arguments as a mapping", False),
        a("frame_stack", Count | None, "observations stacked into one", 1),
        a("vec_env", Literal["dummy", "subproc"], "environments in this process, or in a process each", "dummy"),
        a("eval_freq", Annotated[int, Ge(-1)], "environment steps between evaluations; 0 or -1: none"),
        a("eval_episodes", Count, "episodes of one evaluation", 5),
        a("final_episodes", Count, "episodes of the final score", 20, "sb3_course"),
        a("n_eval_envs", Count, "environments that play an evaluation's episodes side by side", 8, "sb3_course"),
        a("save_freq", Annotated[int, Ge(-1)], "environment steps between checkpoints; 0 or -1: none"),
        a(
            "log_interval",
            Annotated[int, Ge(-2)],
            "rollouts or episodes between rows of the log; -1: the algorithm's own, -2: none",
            -1,
        ),
        a("num_threads", Annotated[int, Ge(-1)], "threads of torch; -1: torch's own", -1),
        a("exact_budget", bool, "end at n_timesteps, though SB3 would fill the rollout", False, "sb3_course"),
        a("noise_type", Literal["normal", "ornstein-uhlenbeck"] | None, "kind of the action noise"),
        a("noise_std", NonNegative, "standard deviation of the action noise", 0.1),
    ]


ARGUMENTS: dict[str, Argument] = {
    row.name: row for row in (*_value_family(), *_other_algorithms(), *_run_keys(), *policy_rows())
}


def add(*rows: Argument) -> None:
    """Add rows to the table: whoever introduces an argument that only it knows, a return estimate for one."""
    ARGUMENTS.update({row.name: row for row in rows})


def rows(*names: str) -> list[Argument]:
    """Return the rows of these names, in their order."""
    return [ARGUMENTS[name] for name in names]


# -------------------------------------------------------------------------------------------------------- use


def check(values: Mapping[str, Any]) -> None:
    """Check values against their rows; a name that is not in the table is left to whoever takes it.

    :param values: name -> value
    :raises InputError: naming the first value that is wrong and what is wanted
    """
    for name, value in values.items():
        row = ARGUMENTS.get(name)
        if row is not None and not row.accepts(value):
            raise InputError(name, "not accepted", value, row.wanted())
    for name, value in values.items():
        larger = ARGUMENTS[name].below if name in ARGUMENTS else None
        high = values.get(larger) if larger is not None else None
        # Words, as "auto", are settled later.
        if high is not None and not isinstance(high, str) and not isinstance(value, str) and not value < high:
            raise InputError(name, f"must be below {larger} = {high}", value, f"a number < {high}")


def normalise(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked values with what text and YAML cannot say put right: `1e5` as an integer, a list as a tuple.

    :param values: name -> value, as read from the command line or a preset
    :raises InputError: as `check`
    """
    result = {}
    for name, value in values.items():
        row = ARGUMENTS.get(name)
        result[name] = value
        if row is None or row.accepts(value):
            continue
        plain = tuple(value) if isinstance(value, list) else unwrap(value)
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        if row.accepts(plain):
            result[name] = plain
    check(result)
    return result


class Row(NamedTuple):
    """One line of `--help` or of the documentation."""

    name: str
    kind: str
    bounds: str
    default: Any
    help: str
    source: str


def describe() -> list[Row]:
    """Return the rows of the table in words."""
    return [Row(row.name, row.kind(), row.bounds(), row.default, row.help, row.source) for row in ARGUMENTS.values()]


def flag_help(name: str) -> str:
    """Return the help of the flag that sets an argument: what it is, and its default."""
    row = ARGUMENTS[name]
    return f"{row.help} (default: {row.default})"
