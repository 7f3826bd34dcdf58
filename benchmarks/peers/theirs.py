"""PFRL, Tianshou, SBX, rlox and a single file at equal network, batch and env; `compare.py` runs it in their venv."""

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


# -- rlox: replay in Rust, networks in torch --------------------------------------------------------------------------


class TwoStreams(nn.Module):
    """A value and advantages, each with hidden layers of its own, as our dueling network has them."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.advantage = mlp(1), mlp(2)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Return Q, (B, 4) -> (B, 2)."""
        advantage = self.advantage(x)
        q: th.Tensor = self.value(x) + advantage - advantage.mean(1, keepdim=True)
        return q


def rlox_dqn(**switches: Any) -> Callable[[int], Advance]:
    """Return the maker of an rlox DQN."""

    def make(batch_size: int) -> Advance:
        from rlox.algorithms.dqn import DQN

        agent = DQN(
            "CartPole-v1", buffer_size=BUFFER, learning_rate=RATE, batch_size=batch_size, target_update_freq=TARGET,
            exploration_fraction=1e-6, learning_starts=STARTS, max_grad_norm=10.0,
            q_network=TwoStreams() if switches.get("dueling") else mlp(2), **switches,
        )  # fmt: skip

        def advance(n_steps: int) -> int:
            agent.train(n_steps)
            agent.learning_starts = 0  # `train` counts its steps anew at each call
            return n_steps

        advance(STARTS + 100)
        return advance

    return make


# -- One file, as CleanRL's are: one loop over a vector env, replay in NumPy, networks in torch -----------------------


class ArrayReplay:
    """A ring of arrays, of which rows are drawn uniformly and handed to torch."""

    def __init__(self) -> None:
        shapes = {"obs": (4,), "next_obs": (4,), "action": (1,), "reward": (1,), "done": (1,)}
        self.arrays = {name: np.zeros((BUFFER, *shape), np.float32) for name, shape in shapes.items()}
        self.size, self.rng = 0, np.random.default_rng(0)

    def add(self, **row: Any) -> None:
        """Put a transition behind the others."""
        for name, value in row.items():
            self.arrays[name][self.size % BUFFER] = value
        self.size += 1

    def sample(self, batch_size: int) -> dict[str, th.Tensor]:
        """Draw a batch."""
        rows = self.rng.integers(min(self.size, BUFFER), size=batch_size)
        return {name: th.as_tensor(array[rows]) for name, array in self.arrays.items()}


def single_file(kind: str) -> Callable[[int], Advance]:
    """Return the maker of a DQN or a C51 whose loop is written out."""
    n_atoms = ATOMS.get(kind, 1)

    def make(batch_size: int) -> Advance:
        envs = gym.vector.SyncVectorEnv([env_of])
        q, target = mlp(2 * n_atoms), mlp(2 * n_atoms)
        target.load_state_dict(q.state_dict())
        optimizer, replay, rng = th.optim.Adam(q.parameters(), lr=RATE), ArrayReplay(), np.random.default_rng(0)
        z = th.linspace(V_MIN, V_MAX, n_atoms)
        state = {"obs": envs.reset(seed=0)[0], "step": 0}

        def values(obs: th.Tensor) -> th.Tensor:
            return (q(obs).view(-1, 2, n_atoms).softmax(2) * z).sum(2) if n_atoms > 1 else q(obs)

        def loss_of(batch: dict[str, th.Tensor]) -> th.Tensor:
            actions, going_on = batch["action"].long(), 0.99 * (1 - batch["done"])
            with th.no_grad():
                outputs = target(batch["next_obs"])
                if n_atoms > 1:
                    odds = outputs.view(-1, 2, n_atoms).softmax(2)
                    odds = odds[range(batch_size), (odds * z).sum(2).argmax(1)]
                    places = (batch["reward"] + going_on * z).clamp(V_MIN, V_MAX) / (V_MAX / (n_atoms - 1))
                    below = places.floor().clamp(max=n_atoms - 2)
                    above, start = places - below, below.long() + n_atoms * th.arange(batch_size)[:, None]
                    wanted = th.zeros(batch_size * n_atoms)
                    wanted.index_add_(0, start.flatten(), (odds * (1 - above)).flatten())
                    wanted.index_add_(0, start.flatten() + 1, (odds * above).flatten())
                    wanted = wanted.view(batch_size, n_atoms)
                else:
                    wanted = batch["reward"] + going_on * outputs.max(1, keepdim=True).values
            if n_atoms > 1:
                logits = q(batch["obs"]).view(-1, 2, n_atoms)[range(batch_size), actions[:, 0]]
                return -(wanted * logits.log_softmax(1)).sum(1).mean()
            return nn.functional.mse_loss(q(batch["obs"]).gather(1, actions), wanted)

        def advance(n_steps: int) -> int:
            for _ in range(n_steps):
                obs, state["step"] = state["obs"], state["step"] + 1
                actions = np.array([envs.single_action_space.sample()])
                if state["step"] > STARTS and rng.random() >= 0.05:
                    with th.no_grad():
                        actions = values(th.as_tensor(obs)).argmax(1).numpy()
                next_obs, rewards, terminated, _, _ = envs.step(actions)
                replay.add(obs=obs, next_obs=next_obs, action=actions, reward=rewards, done=terminated)
                state["obs"] = next_obs
                if state["step"] > STARTS:
                    loss = loss_of(replay.sample(batch_size))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if state["step"] % TARGET == 0:
                        target.load_state_dict(q.state_dict())
            return n_steps

        advance(STARTS + 100)
        return advance

    return make


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
    "rlox dqn": rlox_dqn(double_dqn=True),
    "rlox three switches": rlox_dqn(double_dqn=True, dueling=True, prioritized=True, n_step=3),
    "single-file dqn": single_file("dqn"),
    "single-file c51": single_file("c51"),
}

if __name__ == "__main__":
    th.set_num_threads(1)
    serve(CONTESTANTS)
