"""Rainbow, REINFORCE and everything between, taught rung by rung in the API of Stable-Baselines3."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

# `envs` and `tuning` are links to folders one level up. Where links are not supported git writes a small text file in
# their place, and a source archive leaves them out: then both packages are found beside this one.
if not Path(__file__).with_name("envs").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

from sb3_course._old_names import keep_old_names
from sb3_course._version import __version__
from sb3_course.envs.registration import register_envs
from sb3_course.sb3.policy_aliases import register_policies

if TYPE_CHECKING:
    from sb3_course.envs.bandit import BanditEnv
    from sb3_course.envs.grid_world import GridWorldEnv
    from sb3_course.envs.one_shot import OneShotEnv
    from sb3_course.envs.wrappers import ShapedCartPole, TerminalReward
    from sb3_course.policy_gradient.a3c import A3C
    from sb3_course.policy_gradient.gradient_family import REINFORCE, VPG, ActorCritic, ReinforceBaseline
    from sb3_course.sb3.adapters import to_sb3
    from sb3_course.sb3.callbacks import StopTrainingOnSolved
    from sb3_course.value.numpy_dqn import NumpyDQN
    from sb3_course.value.value_family import (
        CategoricalDQN,
        DoubleDQN,
        DuelingDQN,
        NeuralQ,
        NoisyDQN,
        NStepDQN,
        PrioritizedDQN,
        QTable,
        Rainbow,
    )

__all__ = [
    "A3C",
    "REINFORCE",
    "VPG",
    "ActorCritic",
    "BanditEnv",
    "CategoricalDQN",
    "DoubleDQN",
    "DuelingDQN",
    "GridWorldEnv",
    "NStepDQN",
    "NeuralQ",
    "NoisyDQN",
    "NumpyDQN",
    "OneShotEnv",
    "PrioritizedDQN",
    "QTable",
    "Rainbow",
    "ReinforceBaseline",
    "ShapedCartPole",
    "StopTrainingOnSolved",
    "TerminalReward",
    "__version__",
    "to_sb3",
]

# Where each public name lives. It is imported at its first use, so that `import sb3_course` loads no torch.
_PUBLIC = {
    "A3C": "sb3_course.policy_gradient.a3c:A3C",
    "ActorCritic": "sb3_course.policy_gradient.gradient_family:ActorCritic",
    "BanditEnv": "sb3_course.envs.bandit:BanditEnv",
    "CategoricalDQN": "sb3_course.value.value_family:CategoricalDQN",
    "DoubleDQN": "sb3_course.value.value_family:DoubleDQN",
    "DuelingDQN": "sb3_course.value.value_family:DuelingDQN",
    "GridWorldEnv": "sb3_course.envs.grid_world:GridWorldEnv",
    "NStepDQN": "sb3_course.value.value_family:NStepDQN",
    "NeuralQ": "sb3_course.value.value_family:NeuralQ",
    "NoisyDQN": "sb3_course.value.value_family:NoisyDQN",
    "NumpyDQN": "sb3_course.value.numpy_dqn:NumpyDQN",
    "OneShotEnv": "sb3_course.envs.one_shot:OneShotEnv",
    "PrioritizedDQN": "sb3_course.value.value_family:PrioritizedDQN",
    "QTable": "sb3_course.value.value_family:QTable",
    "REINFORCE": "sb3_course.policy_gradient.gradient_family:REINFORCE",
    "Rainbow": "sb3_course.value.value_family:Rainbow",
    "ReinforceBaseline": "sb3_course.policy_gradient.gradient_family:ReinforceBaseline",
    "ShapedCartPole": "sb3_course.envs.wrappers:ShapedCartPole",
    "StopTrainingOnSolved": "sb3_course.sb3.callbacks:StopTrainingOnSolved",
    "TerminalReward": "sb3_course.envs.wrappers:TerminalReward",
    "to_sb3": "sb3_course.sb3.adapters:to_sb3",
    "VPG": "sb3_course.policy_gradient.gradient_family:VPG",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name].split(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    """List the public names that are not imported yet, too."""
    return sorted({*globals(), *_PUBLIC})


keep_old_names()
register_envs()
register_policies()
