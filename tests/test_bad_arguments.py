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
    QTable,
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
        "policy_kwargs": [3], "double": ["yes"], "verbose": [7, -1, 2.5, "x", None],
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


#: Keys of `policy_kwargs` -> values that a policy refuses, of either family.
POLICY: dict[str, list[Any]] = {
    "net_arch": [[-3], [0], [1.5], [8, -1], "64", 64, -5, [True], [None], [NAN], [[8]], {"pi": [-1]}, {3: [8]}],
    "activation_fn": ["relu", 3], "optimizer_class": [3], "optimizer_kwargs": [3], "features_extractor_class": [3],
    "features_extractor_kwargs": [3], "normalize_images": ["x"],
}  # fmt: skip
KEYS = [(cls, name, value) for cls in (DoubleDQN, ActorCritic) for name, values in POLICY.items() for value in values]

#: What a class named in `policy_kwargs` refuses -> the field.
NESTED = {
    "no such argument": ({"net_arhc": [8]}, "net_arhc"),
    "of the optimizer": ({"optimizer_kwargs": {"foo": 1}}, "policy_kwargs.optimizer_kwargs"),
    "a value of the optimizer": ({"optimizer_kwargs": {"eps": -1}}, "policy_kwargs"),
    "of the extractor": ({"features_extractor_kwargs": {"foo": 1}}, "policy_kwargs.features_extractor_kwargs"),
    "an optimizer that is none": ({"optimizer_class": th.nn.ReLU}, "policy_kwargs"),
    "first weights": ({"init_std": -1}, "init_std"),
    "a bound": ({"init_bound": NAN}, "init_bound"),
}


def loaded(values: Any, **more: Any) -> Any:
    own = model()
    before = {name: tensor.clone() for name, tensor in own.policy.state_dict().items()}
    try:
        own.set_parameters(values(own) if callable(values) else values, **more)
    finally:
        assert all(th.equal(before[name], tensor) for name, tensor in own.policy.state_dict().items())


def scaled(own: Any, by: float) -> Any:
    return {"policy": {name: tensor * by for name, tensor in own.policy.state_dict().items()}}


def added(cls: Any = ReplayBuffer, **changes: Any) -> None:
    """Hand a buffer one transition with something wrong in it."""
    row = {"obs": np.zeros((1, 2)), "next_obs": np.zeros((1, 2)), "action": np.zeros((1, 1)), "reward": np.zeros(1)}
    made = buffer(cls)
    try:
        made.add(**{**row, "done": np.zeros(1), "infos": [{}], **changes})
    finally:
        assert made.size() == 0


def goals(**spoilt: float) -> None:
    """Hand a hindsight buffer one transition with a goal that is no number."""
    space = spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), BOX))
    made = HindsightReplayBuffer(10, space, spaces.Discrete(2), env=None)
    both: dict[str, Any] = {name: {key: np.zeros((1, 2)) for key in space} for name in ("obs", "next_obs")}
    for name, value in spoilt.items():
        both[name]["desired_goal"] = np.full((1, 2), value)
    try:
        made.add(both["obs"], both["next_obs"], np.zeros((1, 1)), np.zeros(1), np.zeros(1), [{}])
    finally:
        assert made.size() == 0


#: What is done -> the field that the refusal names, and the deed.
DEEDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "learn less than nothing": ("total_timesteps", lambda: model().learn(-5)),
    "learn a word": ("total_timesteps", lambda: model().learn("x")),
    "learn NaN": ("total_timesteps", lambda: model().learn(NAN)),
    **{
        f"learn {value!r}": ("total_timesteps", lambda value=value: model().learn(value))
        for value in (1.5, -1, None, [3], float("inf"))
    },
    **{
        f"log every {value!r}": ("log_interval", lambda value=value: model().learn(9, log_interval=value))
        for value in (0, -1, 1.5, "x", NAN)
    },
    **{
        f"call {value!r}": ("callback", lambda value=value: model().learn(9, callback=value)) for value in (3, "x", [3])
    },
    "a bar in words": ("progress_bar", lambda: model().learn(9, progress_bar="yes")),
    "a reset in words": ("reset_num_timesteps", lambda: model().learn(9, reset_num_timesteps="no")),
    **{
        f"sample {value!r}{cls.__name__}": (
            "batch_size", lambda value=value, cls=cls: buffer(cls, filled=5).sample_batch(value),
        )
        for value in (0, -1, 1.5, "x", None, NAN, True) for cls in (ReplayBuffer, PrioritizedReplayBuffer)
    },
    "sample for SB3": ("batch_size", lambda: buffer(filled=5).sample(0)),
    "a reward that is none": ("reward", lambda: added(reward=np.array([NAN]))),
    "an infinite reward": ("reward", lambda: added(reward=np.array([float("inf")]))),
    "no reward": ("reward", lambda: added(reward=None)),
    "two rewards": ("reward", lambda: added(reward=np.zeros(2))),
    "a wide observation": ("transition", lambda: added(obs=np.zeros((1, 3)))),
    "a text observation": ("transition", lambda: added(obs="x")),
    **{
        f"{name} of {values[0, 0]} handed to {cls.__name__}": (
            name, lambda name=name, values=values, cls=cls: added(cls, **{name: values}),
        )
        for name, values in [
            ("obs", np.array([[0, NAN]])), ("obs", np.array([[float("inf"), 0]])), ("next_obs", np.array([[NAN, 0]])),
            ("action", np.array([[NAN]])),
        ] for cls in (ReplayBuffer, PrioritizedReplayBuffer)
    },
    "an end that is none": ("done", lambda: added(done=np.array([NAN]))),
    "a goal that is none": ("obs['desired_goal']", lambda: goals(obs=NAN)),
    "a goal after it that is none": ("next_obs['desired_goal']", lambda: goals(next_obs=NAN)),
    "no infos": ("transition", lambda: added(infos=[])),
    "an info that is none": ("transition", lambda: added(infos=[3])),
    **{
        f"buffer {name}={value!r}": (name, lambda name=name, value=value: buffer(**{name: value}))
        for name, values in {
            "n_steps": (1.5, "x", True, None), "gamma": (NAN, "x"), "n_envs": (1.5, "x"), "rng": (3,), "storage": (3,),
            "draw": (3,), "handle_timeout_termination": ("x",), "optimize_memory_usage": ("x", True),
        }.items() for value in values
    },
    **{
        f"priorities {name}={value!r}": (
            name, lambda name=name, value=value: buffer(PrioritizedReplayBuffer, **{name: value}),
        )
        for name, values in {
            "alpha": (NAN, "x", float("inf")), "beta": (-1, NAN, "x"), "priority_eps": (NAN, "x", 0),
        }.items() for value in values
    },
    **{
        f"see {value!r}": ("observation", lambda value=value: model().predict(value, deterministic=True))
        for value in (np.full(4, NAN), np.full((1, 4), float("inf")), [0, 0, 0, NAN], "x", None, {"a": np.zeros(4)},
                      np.array(["a"] * 4), np.zeros((0, 4)), np.zeros(4, complex))
    },
    **{
        f"state {value!r}": (
            "observation", lambda value=value: QTable("MlpPolicy", "sb3_course/GridWorld-v0").predict(value),
        )
        for value in (99, -1, 1.5, NAN, "x")
    },
    "weights of nothing": ("parameters", lambda: loaded({"x": 1})),
    "weights that are none": ("policy", lambda: loaded({"policy": 3}, exact_match=False)),
    "weights missing": ("policy.optimizer", lambda: loaded({"policy": {}, "policy.optimizer": {}})),
    "weights that are not finite": ("policy.q_net.q_net.0.weight", lambda: loaded(lambda own: scaled(own, NAN))),
    "weights from no path": ("path", lambda: loaded(3)),
    "saved nowhere": ("path", lambda: model().save(3)),
    "a checkpoint of nowhere": ("path", lambda: DoubleDQN.load_checkpoint(3, "CartPole-v1")),  # type: ignore[arg-type]
    "a buffer of nowhere": ("path", lambda: model().load_replay_buffer(3)),
    "a seed of a fraction": ("seed", lambda: model().set_random_seed(1.5)),
    "a generator that is none": ("rng", lambda: model().set_rng(3)),
    "an env that is none": ("env", lambda: model().set_env(3)),
    **{
        f"made for {env!r}": ("env", lambda env=env: DoubleDQN("MlpPolicy", env))
        for env in (3, [], "", "NoEnv-v0", "no_module:Env-v0", None)
    },
    **{
        f"a schedule {number}": ("learning_rate", lambda rate=rate: DoubleDQN("MlpPolicy", "CartPole-v1", rate))
        for number, rate in enumerate((lambda _: -1, lambda _: NAN, lambda _: "x", lambda: 1))
    },
    "solved in half an episode": ("n_episodes", lambda: StopTrainingOnSolved(n_episodes=1.5)),  # type: ignore[arg-type]
    "solved at a word": ("threshold", lambda: StopTrainingOnSolved("x")),  # type: ignore[arg-type]
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


@pytest.mark.parametrize(("cls", "name", "value"), KEYS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_key_of_the_policy_is_refused_by_its_name_with_its_value(cls: Any, name: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        cls("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs={name: value})
    assert (refused.value.field, refused.value.got is not None, refused.value.want is not None) == (name, True, True)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("policy_kwargs", "field"), NESTED.values(), ids=NESTED)
def test_what_a_class_refuses_is_told_in_one_line(policy_kwargs: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        DoubleDQN("MlpPolicy", "CartPole-v1", device="cpu", buffer_size=50, policy_kwargs=policy_kwargs)
    assert (refused.value.field, refused.value.want is not None) == (field, True)
    assert "\n" not in str(refused.value)


def test_there_are_enough_rows() -> None:
    assert len(REFUSED) + len(KEYS) + len(NESTED) + len(DEEDS) >= 180


@pytest.mark.filterwarnings("ignore:total_timesteps")
def test_what_sb3s_users_write_is_taken() -> None:
    for steps in (1e1, np.int64(10), 0):
        model().learn(steps, log_interval=None)
    for arguments in ({"verbose": 2}, {"tau": 0}, {"policy_kwargs": {"net_arch": np.array([8, 8])}}):
        DoubleDQN("MlpPolicy", "CartPole-v1", device="cpu", buffer_size=50, **arguments)
    ActorCritic("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs={"net_arch": {"pi": [8], "vf": []}})


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
