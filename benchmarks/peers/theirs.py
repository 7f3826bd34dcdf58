"""PFRL, Tianshou and SBX at equal network, batch, update frequency and env; run by `compare.py` in their own venv."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn
from turns import Advance, serve

HIDDEN = (120, 84)
ATOMS = {"c51": 101, "rainbow": 51}
V_MIN, V_MAX = 0.0, 100.0
STARTS = 500
BUFFER = 100_000
TARGET = 500
RATE = 1e-4


def env_of() -> Any:
    """Return the env of all contestants."""
    return gym.make("CartPole-v1")


def mlp(n_outputs: int, *behind: nn.Module) -> nn.Sequential:
    """Return 4 -> 120 -> 84 -> outputs with ReLU, as in all contestants."""
    first, second = HIDDEN
    layers = [nn.Linear(4, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, n_outputs)]
    return nn.Sequential(*layers, *behind)


# -- PFRL: an agent that acts and observes; the loop is the user's ----------------------------------------------------


def pfrl_loop(agent: Any) -> Advance:
    """Let an agent act and observe."""
    env = env_of()
    env.reset(seed=0)
    state = {"observation": env.reset()[0]}

    def advance(n_steps: int) -> int:
        for _ in range(n_steps):
            action = agent.act(state["observation"])
            observation, reward, terminated, truncated, _ = env.step(action)
            agent.observe(observation, reward, terminated, terminated or truncated)
            state["observation"] = env.reset()[0] if terminated or truncated else observation
        return n_steps

    advance(STARTS + 100)
    return advance


def pfrl_value(kind: str) -> Callable[[int], Advance]:
    """Return the maker of a PFRL agent of the value family."""

    def make(batch_size: int) -> Advance:
        import pfrl
        from pfrl import agents, explorers, replay_buffers
        from pfrl.action_value import DistributionalDiscreteActionValue
        from pfrl.q_functions import DiscreteActionValueHead

        class Distributional(nn.Module):
            def __init__(self, n_atoms: int) -> None:
                super().__init__()
                self.net, self.n_atoms = mlp(2 * n_atoms), n_atoms
                self.register_buffer("z", th.linspace(V_MIN, V_MAX, n_atoms))

            def forward(self, x: th.Tensor) -> Any:
                return DistributionalDiscreteActionValue(self.net(x).view(-1, 2, self.n_atoms).softmax(2), self.z)

        q = Distributional(ATOMS[kind]) if kind in ATOMS else mlp(2, DiscreteActionValueHead())
        rng = np.random.default_rng(0)
        explorer: Any = explorers.ConstantEpsilonGreedy(0.05, lambda: int(rng.integers(2)))
        buffer: Any = replay_buffers.ReplayBuffer(BUFFER)
        if kind == "rainbow":
            pfrl.nn.to_factorized_noisy(q, sigma_scale=0.5)
            explorer = explorers.Greedy()
            buffer = replay_buffers.PrioritizedReplayBuffer(BUFFER, alpha=0.5, beta0=0.4, num_steps=3)
        cls = agents.CategoricalDoubleDQN if kind in ATOMS else agents.DoubleDQN
        return pfrl_loop(
            cls(
                q, th.optim.Adam(q.parameters(), lr=RATE), buffer, 0.99, explorer, gpu=None,
                replay_start_size=STARTS, minibatch_size=batch_size, update_interval=1, target_update_interval=TARGET,
            )
        )  # fmt: skip

    return make


def pfrl_reinforce(episodes: int) -> Advance:
    """Return PFRL's REINFORCE."""
    from pfrl import agents
    from pfrl.policies import SoftmaxCategoricalHead

    model = mlp(2, SoftmaxCategoricalHead())
    return pfrl_loop(agents.REINFORCE(model, th.optim.Adam(model.parameters(), lr=RATE), batchsize=episodes))


# -- Tianshou: a collector and an algorithm's update ------------------------------------------------------------------


def tianshou_loop(algorithm: Any, buffer: Any, batch_size: int, noisy: bool) -> Advance:
    """Collect a step, update, and again."""
    from tianshou.algorithm.algorithm_base import policy_within_training_step
    from tianshou.data import Collector
    from tianshou.env import DummyVectorEnv

    collector = Collector(algorithm, DummyVectorEnv([env_of]), buffer, exploration_noise=not noisy)
    collector.reset()
    collector.collect(n_step=STARTS, random=True)

    def advance(n_steps: int) -> int:
        with policy_within_training_step(algorithm.policy):
            for _ in range(n_steps):
                collector.collect(n_step=1)
                algorithm.update(buffer, sample_size=batch_size)
        return n_steps

    advance(100)
    return advance


def tianshou_value(kind: str) -> Callable[[int], Advance]:
    """Return the maker of a Tianshou algorithm of the value family."""

    def make(batch_size: int) -> Advance:
        from tianshou.algorithm.modelfree.c51 import C51, C51Policy
        from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
        from tianshou.algorithm.modelfree.rainbow import RainbowDQN
        from tianshou.algorithm.optim import AdamOptimizerFactory
        from tianshou.data import PrioritizedReplayBuffer, ReplayBuffer
        from tianshou.utils.net.common import Net
        from tianshou.utils.net.discrete import NoisyLinear

        space = env_of().action_space
        common: dict[str, Any] = {
            "optim": AdamOptimizerFactory(lr=RATE), "gamma": 0.99, "target_update_freq": TARGET,
        }  # fmt: skip
        if kind == "dqn":
            net = Net(state_shape=(4,), action_shape=2, hidden_sizes=HIDDEN)
            policy: Any = DiscreteQLearningPolicy(model=net, action_space=space, eps_training=0.05)
            algorithm: Any = DQN(policy=policy, is_double=True, huber_loss_delta=1.0, **common)
            return tianshou_loop(algorithm, ReplayBuffer(BUFFER), batch_size, noisy=False)
        n_atoms = ATOMS[kind]
        arguments: dict[str, Any] = {"hidden_sizes": HIDDEN, "softmax": True, "num_atoms": n_atoms}
        if kind == "rainbow":
            streams = {"linear_layer": lambda *sizes: NoisyLinear(*sizes, 0.5)}
            arguments |= {"hidden_sizes": (), "dueling_param": tuple({"hidden_sizes": HIDDEN, **streams} for _ in "QV")}
        net = Net(state_shape=(4,), action_shape=2, **arguments)
        policy = C51Policy(
            model=net, action_space=space, num_atoms=n_atoms, v_min=V_MIN, v_max=V_MAX,
            eps_training=0.0 if kind == "rainbow" else 0.05,
        )  # fmt: skip
        if kind == "c51":
            return tianshou_loop(C51(policy=policy, **common), ReplayBuffer(BUFFER), batch_size, noisy=False)
        algorithm = RainbowDQN(policy=policy, n_step_return_horizon=3, **common)
        buffer = PrioritizedReplayBuffer(BUFFER, alpha=0.5, beta=0.4)
        return tianshou_loop(algorithm, buffer, batch_size, noisy=True)

    return make


def tianshou_reinforce(episodes: int) -> Advance:
    """Return Tianshou's Reinforce."""
    from tianshou.algorithm.algorithm_base import policy_within_training_step
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy, Reinforce
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, ReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.utils.net.common import Net

    net = Net(state_shape=(4,), action_shape=2, hidden_sizes=HIDDEN)
    policy = DiscreteActorPolicy(actor=net, action_space=env_of().action_space)
    algorithm = Reinforce(policy=policy, gamma=0.99, optim=AdamOptimizerFactory(lr=RATE))
    buffer = ReplayBuffer(10_000)
    collector = Collector(algorithm, DummyVectorEnv([env_of]), buffer)
    collector.reset()

    def advance(n_steps: int) -> int:
        taken = 0
        with policy_within_training_step(policy):
            while taken < n_steps:
                taken += collector.collect(n_episode=episodes).n_collected_steps
                algorithm.update(buffer, batch_size=None, repeat=1)
                collector.reset_buffer(keep_statistics=True)
        return taken

    advance(500)
    return advance


# -- SBX --------------------------------------------------------------------------------------------------------------


def sbx_dqn(batch_size: int) -> Advance:
    """Return SBX's DQN."""
    import flax.linen
    from sbx import DQN

    model = DQN(
        "MlpPolicy", env_of(), batch_size=batch_size, train_freq=1, learning_starts=STARTS, buffer_size=BUFFER,
        target_update_interval=TARGET, learning_rate=RATE,
        policy_kwargs={"net_arch": list(HIDDEN), "activation_fn": flax.linen.relu},
    )  # fmt: skip
    return sb3_loop(model)


def sb3_loop(model: Any) -> Advance:
    """Let `learn` take the steps."""

    def advance(n_steps: int) -> int:
        before = model.num_timesteps
        model.learn(n_steps, reset_num_timesteps=False, log_interval=10**9)
        return int(model.num_timesteps - before)

    advance(STARTS + 100)
    return advance


CONTESTANTS: dict[str, Callable[[int], Advance]] = {
    "pfrl double_dqn": pfrl_value("dqn"),
    "pfrl c51": pfrl_value("c51"),
    "pfrl rainbow": pfrl_value("rainbow"),
    "pfrl reinforce": pfrl_reinforce,
    "tianshou double_dqn": tianshou_value("dqn"),
    "tianshou c51": tianshou_value("c51"),
    "tianshou rainbow": tianshou_value("rainbow"),
    "tianshou reinforce": tianshou_reinforce,
    "sbx dqn": sbx_dqn,
}

if __name__ == "__main__":
    th.set_num_threads(1)
    serve(CONTESTANTS)
