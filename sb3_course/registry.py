"""The one table of algorithms: name -> class, family, source. The command line, tuning and the documentation read it.

The rows are in the order of the ladder. Importing this module imports neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from sb3_course.config import parameters
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.named_classes import allow_module

#: Action spaces by their Gymnasium class names.
_DISCRETE = ("Discrete",)
_BOX = ("Box",)
_SIMPLE = ("Box", "Discrete")
_ANY = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")
_NOT_PARAMETERS = ("self", "policy", "env", "_init_setup_model")


@dataclass(frozen=True)
class Algorithm:
    """One row of the table.

    :param name: what `--algo` takes
    :param target: `module:Class`
    :param family: `value`, `policy gradient`, `actor-critic` or `evolution`
    :param source: the library it comes from
    :param idea: what it adds, in one line
    :param action_spaces: class names of the action spaces it takes
    """

    name: str
    target: str
    family: str
    source: str
    idea: str
    action_spaces: tuple[str, ...]

    def load(self) -> type[Any]:
        """Import the class and return it.

        :raises InputError: when the library it comes from is not installed
        """
        module, _, name = self.target.partition(":")
        try:
            cls: type[Any] = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
                raise
            raise InputError("algo", f"{self.name} needs the package {error.name}", want="it installed") from None
        return cls


def _sb3(name: str, cls: str, family: str, idea: str, actions: tuple[str, ...]) -> Algorithm:
    return Algorithm(name, f"stable_baselines3:{cls}", family, "stable_baselines3", idea, actions)


def _contrib(name: str, cls: str, family: str, idea: str, actions: tuple[str, ...]) -> Algorithm:
    return Algorithm(name, f"sb3_contrib:{cls}", family, "sb3_contrib", idea, actions)


def _value(name: str, cls: str, idea: str, module: str = "value_family") -> Algorithm:
    return Algorithm(name, f"sb3_course.value.{module}:{cls}", "value", "sb3_course", idea, _DISCRETE)


def _gradient(
    name: str, cls: str, idea: str, family: str = "policy gradient", module: str = "gradient_family"
) -> Algorithm:
    return Algorithm(name, f"sb3_course.policy_gradient.{module}:{cls}", family, "sb3_course", idea, _ANY)


#: The rows by name, SB3's classes among them; a module that `--import` names may add its own.
ALGORITHMS: dict[str, Algorithm] = {
    row.name: row
    for row in (
        _value("q_table", "QTable", "tabular Q-learning: one number for each state and action"),
        _value("neural_q", "NeuralQ", "a network in place of the table, updated on each single transition"),
        _value("numpy_dqn", "NumpyDQN", "DQN from scratch: own layers, backpropagation and optimizers", "numpy_dqn"),
        _sb3("dqn", "DQN", "value", "neural Q-learning with replay memory and target network", _DISCRETE),
        _value("double_dqn", "DoubleDQN", "DQN whose online network picks the next action and whose target rates it"),
        _value("dueling_dqn", "DuelingDQN", "one stream for the state's value, one for the advantages of its actions"),
        _value("per_dqn", "PrioritizedDQN", "transitions with large errors are replayed more often"),
        _value("nstep_dqn", "NStepDQN", "the rewards of n steps before the bootstrap"),
        _value("noisy_dqn", "NoisyDQN", "learned noise on the weights explores in place of epsilon"),
        _value("c51", "CategoricalDQN", "a distribution of the return over fixed atoms instead of its mean"),
        _value("quantile_dqn", "QuantileDQN", "quantiles of the return: a distribution without a support to choose"),
        _value("iqn", "IQN", "the quantile level is an input of the network: the return's quantiles at any level"),
        _value("munchausen_dqn", "MunchausenDQN", "a soft policy in the targets, its log probability as a reward"),
        _value("rainbow", "Rainbow", "double, dueling, prioritized, n-step, noisy and categorical at once"),
        _value("btr", "BTR", "Beyond the Rainbow: implicit quantiles, soft targets, a larger network, many envs"),
        _value("pqn", "PQN", "no replay, no target network: Q(lambda) on rollouts of several envs, layer norm", "pqn"),
        _gradient("vpg", "VPG", "every action weighted by the return of its whole episode"),
        _gradient("reinforce", "REINFORCE", "an action weighted by the rewards that follow it"),
        _gradient("reinforce_baseline", "ReinforceBaseline", "the reward to go less what was to be expected"),
        _gradient("actor_critic", "ActorCritic", "a critic's one-step surprise in place of the return", "actor-critic"),
        _gradient("a3c", "A3C", "workers that learn on one shared network, a process each", "actor-critic", "a3c"),
        _sb3("a2c", "A2C", "actor-critic", "n-step advantages from several environments at once", _ANY),
        _sb3("ppo", "PPO", "actor-critic", "several epochs on each rollout with a clipped probability ratio", _ANY),
        _sb3("ddpg", "DDPG", "actor-critic", "a deterministic actor that climbs its critic", _BOX),
        _sb3("td3", "TD3", "actor-critic", "DDPG with two critics, delayed actor and smoothed target actions", _BOX),
        _sb3("sac", "SAC", "actor-critic", "two critics and a stochastic actor rewarded for its entropy", _BOX),
        _contrib("qrdqn", "QRDQN", "value", "DQN that learns quantiles of the return", _DISCRETE),
        _contrib("trpo", "TRPO", "actor-critic", "policy steps inside a trust region of bounded divergence", _ANY),
        _contrib("ars", "ARS", "evolution", "random search among the weights, the best directions kept", _SIMPLE),
        _contrib("tqc", "TQC", "actor-critic", "SAC with quantile critics, the largest quantiles left out", _BOX),
        _contrib("crossq", "CrossQ", "actor-critic", "SAC with batch normalisation and no target network", _BOX),
    )
}


def find(name: str) -> Algorithm:
    """Return the row of the algorithm called `name`.

    :raises InputError: with a did-you-mean, when there is none
    """
    row = ALGORITHMS.get(name)
    if row is None:
        raise InputError("algo", f"unknown algorithm{did_you_mean(name, ALGORITHMS)}", name, ", ".join(ALGORITHMS))
    return row


def load_plugins(modules: Iterable[str]) -> None:
    """Import a user's modules, which register environments and algorithms, and whose classes files may name then.

    They may lie in the current folder.

    :param modules: their dotted names
    :raises InputError: when one cannot be imported
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # whatever a user's module does on import, it is an answer
            raise InputError("--import", f"cannot be imported: {error}", module, "a module") from error
        allow_module(module)


def name_of(cls: type[Any]) -> str | None:
    """Return the name under which `cls` is registered, or None; it imports nothing."""
    for row in ALGORITHMS.values():
        module, _, name = row.target.partition(":")
        # `stable_baselines3:DQN` is defined in `stable_baselines3.dqn.dqn`, so the package decides, not the module.
        same = cls.__module__ == module or (row.source != "sb3_course" and cls.__module__.startswith(f"{module}."))
        if same and cls.__qualname__ == name:
            return row.name
    return None


def constructor_arguments(name: str) -> dict[str, inspect.Parameter]:
    """Return the hyperparameters that the algorithm's constructor takes, in its order, with their defaults.

    :param name: registry name; the class is imported
    :raises InputError: when there is no such algorithm
    """
    parameters_of = inspect.signature(find(name).load()).parameters.values()
    keywords = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p for p in parameters_of if p.kind in keywords and p.name not in _NOT_PARAMETERS}


def check_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of one algorithm, checked and normalised (`1e5` -> 100000, a list -> a tuple).

    :param name: registry name; the class is imported
    :param params: hyperparameter -> value, as `read_value` gives it
    :raises InputError: for an unknown name (with a did-you-mean) or a value outside its bounds
    """
    known = constructor_arguments(name)
    # The zoo writes action noise as two words; the run makes the object once it knows the environment.
    words = {*known, "noise_type", "noise_std"} if "action_noise" in known else set(known)
    for key in params:
        if key not in words:
            what, want = f"{name} has no such hyperparameter{did_you_mean(key, words)}", "one of its constructor's"
            raise InputError(key, what, params[key], want)
    checked = parameters.normalise(params)
    for key, value in checked.items():
        # The table is shared, its algorithms differ: `ent_coef` may be 'auto' for SAC, not for PPO.
        if key in known and (value is None or isinstance(value, str)) and not _admits(known[key], type(value)):
            bounds = parameters.ARGUMENTS[key].bounds() if key in parameters.ARGUMENTS else ""
            raise InputError(key, f"not accepted by {name}", value, f"a number {bounds}".strip())
    return checked


def _admits(parameter: inspect.Parameter, kind: type) -> bool:
    """Whether the annotation of a parameter leaves room for `kind` (a string or None); no annotation leaves room."""
    hint = parameter.annotation
    if isinstance(hint, str) or hint in (inspect.Parameter.empty, Any):
        return True
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return kind in members or isinstance(parameter.default, kind)
