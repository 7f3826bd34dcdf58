"""Rainbow, REINFORCE and everything between, taught rung by rung in the API of Stable-Baselines3."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sb3_course.config.starting import end_while_starting, is_command, only_help

if is_command():  # before the imports, which take long
    end_while_starting()

# `envs` and `tuning` are links to folders one level up. Where links are not supported git writes a small text file in
# their place, and a source archive leaves them out: then both packages are found beside this one.
if not Path(__file__).with_name("envs").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

from sb3_course._lazy import lazy
from sb3_course._old_names import keep_old_names
from sb3_course._version import __version__ as __version__

# Each public name is imported at its first use, so that `import sb3_course` loads no torch.
if TYPE_CHECKING:
    from sb3_course.envs.bandit import BanditEnv as BanditEnv
    from sb3_course.envs.grid_world import GridWorldEnv as GridWorldEnv
    from sb3_course.envs.one_shot import OneShotEnv as OneShotEnv
    from sb3_course.envs.wrappers import NoDoneMask as NoDoneMask
    from sb3_course.envs.wrappers import ShapedCartPole as ShapedCartPole
    from sb3_course.envs.wrappers import TerminalReward as TerminalReward
    from sb3_course.policy_gradient.a3c import A3C as A3C
    from sb3_course.policy_gradient.gradient_family import REINFORCE as REINFORCE
    from sb3_course.policy_gradient.gradient_family import VPG as VPG
    from sb3_course.policy_gradient.gradient_family import ActorCritic as ActorCritic
    from sb3_course.policy_gradient.gradient_family import ReinforceBaseline as ReinforceBaseline
    from sb3_course.runs.preset_model import from_preset as from_preset
    from sb3_course.sb3.adapters import to_sb3 as to_sb3
    from sb3_course.sb3.callbacks import SaveCheckpoints as SaveCheckpoints
    from sb3_course.sb3.callbacks import StopTrainingOnSolved as StopTrainingOnSolved
    from sb3_course.sb3.checkpoints import restore_checkpoint as restore_checkpoint
    from sb3_course.sb3.checkpoints import save_checkpoint as save_checkpoint
    from sb3_course.sb3.recorded_env import EpisodeRecorder as EpisodeRecorder
    from sb3_course.value.numpy_dqn import NumpyDQN as NumpyDQN
    from sb3_course.value.pqn import PQN as PQN
    from sb3_course.value.value_family import BTR as BTR
    from sb3_course.value.value_family import IQN as IQN
    from sb3_course.value.value_family import CategoricalDQN as CategoricalDQN
    from sb3_course.value.value_family import DoubleDQN as DoubleDQN
    from sb3_course.value.value_family import DuelingDQN as DuelingDQN
    from sb3_course.value.value_family import MunchausenDQN as MunchausenDQN
    from sb3_course.value.value_family import NeuralQ as NeuralQ
    from sb3_course.value.value_family import NoisyDQN as NoisyDQN
    from sb3_course.value.value_family import NStepDQN as NStepDQN
    from sb3_course.value.value_family import PrioritizedDQN as PrioritizedDQN
    from sb3_course.value.value_family import QTable as QTable
    from sb3_course.value.value_family import QuantileDQN as QuantileDQN
    from sb3_course.value.value_family import Rainbow as Rainbow
else:
    __getattr__, __dir__, __all__ = lazy(globals(), {
        "sb3_course._version": "__version__",
        "sb3_course.envs.bandit": "BanditEnv",
        "sb3_course.envs.grid_world": "GridWorldEnv",
        "sb3_course.envs.one_shot": "OneShotEnv",
        "sb3_course.envs.wrappers": "NoDoneMask ShapedCartPole TerminalReward",
        "sb3_course.policy_gradient.a3c": "A3C",
        "sb3_course.policy_gradient.gradient_family": "ActorCritic REINFORCE ReinforceBaseline VPG",
        "sb3_course.runs.preset_model": "from_preset",
        "sb3_course.sb3.adapters": "to_sb3",
        "sb3_course.sb3.callbacks": "SaveCheckpoints StopTrainingOnSolved",
        "sb3_course.sb3.checkpoints": "restore_checkpoint save_checkpoint",
        "sb3_course.sb3.recorded_env": "EpisodeRecorder",
        "sb3_course.value.numpy_dqn": "NumpyDQN",
        "sb3_course.value.pqn": "PQN",
        "sb3_course.value.value_family": "BTR CategoricalDQN DoubleDQN DuelingDQN IQN MunchausenDQN NStepDQN "
        "NeuralQ NoisyDQN PrioritizedDQN QTable QuantileDQN Rainbow",
    })  # fmt: skip

if not only_help():  # which is quick: it waits neither for NumPy nor for Gymnasium
    from sb3_course.envs.registration import register_envs
    from sb3_course.saving.values import hand_in_class
    from sb3_course.sb3.handed_in import hand_in
    from sb3_course.sb3.policy_aliases import register_policies
    from sb3_course.value import estimates as _estimates  # noqa: F401  # adds its rows to the table of arguments

    keep_old_names()
    register_envs()
    register_policies()
    # Presets, environments and runs lie above the algorithms that are built from them.
    hand_in(lambda *what: import_module("sb3_course.runs.preset_model").build_for(*what))
    hand_in_class("sb3_course.runs.settings:Settings", "to_config", "from_config")
