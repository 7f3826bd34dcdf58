"""What Python's doors refuse, in one table: each naming the argument, the value that was given and what is wanted.

The command line's table is `runs/test_bad_input.py`; files that were tampered with are in `chaos/test_tampered.py`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_course import (
    ActorCritic,
    CategoricalDQN,
    DoubleDQN,
    PrioritizedDQN,
    StopTrainingOnSolved,
    from_preset,
)
from sb3_course.config.errors import InputError
from sb3_course.replay import HindsightReplayBuffer, PrioritizedReplayBuffer, ReplayBuffer
from sb3_course.runs import Settings

BOX = spaces.Box(-1, 1, (2,))
NAN = float("nan")

#: Class -> argument -> values that it refuses.
ARGUMENTS: dict[type[Any], dict[str, list[Any]]] = {
    DoubleDQN: {
        "gamma": [1.5, -0.1, NAN, "high", None], "learning_rate": [0, -1, float("inf"), "fast"],
        "batch_size": [0, -3, 2.5, "x"], "buffer_size": [0, -1, 1.5], "learning_starts": [-1], "tau": [2, -0.1],
        "train_freq": [0, (0, "step"), (1, "week")], "gradient_steps": [-2], "target_update_interval": [0],
        "exploration_fraction": [2, -1], "exploration_final_eps": [-0.1, 1.5], "max_grad_norm": [-1],
        "n_steps": [0, -1], "seed": [-1, "x"], "device": ["gpu"], "backend": ["jax"], "loss": ["hubber"],
        "policy_kwargs": [3], "double": ["yes"],
    },
    PrioritizedDQN: {"alpha": [-1], "beta0": [2]},
    CategoricalDQN: {"n_atoms": [0], "v_min": [NAN], "risk": ["cvar:7"]},
    ActorCritic: {
        "gamma": [1.5], "learning_rate": [-1], "n_steps": [0], "ent_coef": [NAN], "vf_coef": [NAN], "gae_lambda": [2],
        "psi": ["x"], "baseline": ["x"], "normalize_advantage": ["x"], "episodes_per_update": [0],
        "max_grad_norm": [-1],
    },
}  # fmt: skip
REFUSED = [(cls, name, value) for cls, names in ARGUMENTS.items() for name, values in names.items() for value in values]


def buffer(cls: Any = ReplayBuffer, size: Any = 10, filled: int = 0, **arguments: Any) -> Any:
    made = cls(size, BOX, spaces.Discrete(2), "cpu", **arguments)
    for _ in range(filled):
        made.add(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 1)), np.zeros(1), np.zeros(1), [{}])
    return made


def model() -> Any:
    return DoubleDQN("MlpPolicy", "CartPole-v1", device="cpu", buffer_size=50)


#: What is done -> the field that the refusal names, and the deed.
DEEDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "learn less than nothing": ("total_timesteps", lambda: model().learn(-5)),
    "learn a word": ("total_timesteps", lambda: model().learn("x")),
    "learn NaN": ("total_timesteps", lambda: model().learn(NAN)),
    "a buffer for nothing": ("buffer_size", lambda: buffer(size=0)),
    "a buffer of a fraction": ("buffer_size", lambda: buffer(size=1.5)),
    "a buffer that discounts upwards": ("gamma", lambda: buffer(gamma=2.0)),
    "a window of nothing": ("n_steps", lambda: buffer(n_steps=0)),
    "a window longer than the buffer": ("n_steps", lambda: buffer(n_steps=11)),
    "a buffer of no envs": ("n_envs", lambda: buffer(n_envs=0)),
    "a draw from nothing": ("replay buffer", lambda: buffer().sample_batch(3)),
    "a negative exponent": ("alpha", lambda: buffer(PrioritizedReplayBuffer, alpha=-1)),
    "weights that grow": ("beta", lambda: buffer(PrioritizedReplayBuffer, beta=7)),
    "a negative epsilon": ("priority_eps", lambda: buffer(PrioritizedReplayBuffer, priority_eps=-1)),
    "a priority that is none": (
        "priorities", lambda: buffer(PrioritizedReplayBuffer, filled=5).update(np.array([0]), np.array([NAN])),
    ),
    "a negative priority": (
        "priorities", lambda: buffer(PrioritizedReplayBuffer, filled=5).update(np.array([0]), np.array([-1.0])),
    ),
    "a priority of nothing": (
        "indices", lambda: buffer(PrioritizedReplayBuffer, filled=5).update(np.array([99]), np.array([1.0])),
    ),
    "hindsight without goals": (
        "observation_space", lambda: HindsightReplayBuffer(10, BOX, spaces.Discrete(2), None),  # type: ignore[arg-type]
    ),
    "solved in no episodes": ("n_episodes", lambda: StopTrainingOnSolved(n_episodes=0)),
    "a preset of no env": ("env", lambda: from_preset("dqn", "NoEnv-v0")),
    "a preset of no algorithm": ("algo", lambda: from_preset("dnq", "CartPole-v1")),
    "settings out of bounds": ("gamma", lambda: Settings.resolve("dqn", "CartPole-v1", {"gamma": 3})),
}  # fmt: skip


@pytest.mark.parametrize(("cls", "name", "value"), REFUSED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_an_argument_is_refused_by_its_name_with_its_value(cls: Any, name: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        cls("MlpPolicy", "CartPole-v1", **{"device": "cpu", name: value})
    assert (refused.value.field, refused.value.got is not None, refused.value.want is not None) == (name, True, True)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("deed", DEEDS)
def test_a_deed_is_refused_in_one_line(deed: str) -> None:
    field, do = DEEDS[deed]
    with pytest.raises(InputError) as refused:
        do()
    assert refused.value.field == field
    assert "\n" not in str(refused.value)


def test_a_device_that_is_not_there_is_warned_of_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(th.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="device: 'cuda:3' is not there; the model computes on the CPU") as told:
        model = DoubleDQN("MlpPolicy", "CartPole-v1", device="cuda:3", buffer_size=50)
    assert (told[0].filename, model.device.type) == (__file__, "cpu")
    with pytest.raises(InputError, match=r"device: is not there \(got 'xpu:7', want auto or cpu"):
        DoubleDQN("MlpPolicy", "CartPole-v1", device="xpu:7", buffer_size=50)
