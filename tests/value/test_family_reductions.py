"""Each idea with its parameter at zero is what it was added to, and one update of each is its equation in torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as th
import torch.nn.functional as F
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course import (
    CategoricalDQN,
    DoubleDQN,
    DuelingDQN,
    NoisyDQN,
    NStepDQN,
    PrioritizedDQN,
    Rainbow,
)
from sb3_course.networks import noisy_layers, reset_noise
from sb3_course.replay import PrioritizedReplayBuffer

CARTPOLE_RETURNS = {"v_min": 0.0, "v_max": 100.0}


def make(cls: type, env: str = "CartPole-v1", **kwargs: Any) -> Any:
    settings: dict[str, Any] = {
        "learning_starts": 20, "batch_size": 16, "buffer_size": 300, "train_freq": 1, "learning_rate": 1e-3,
        "target_update_interval": 50, "exploration_final_eps": 0.3, "seed": 0, "device": "cpu",
        "backend": "torch",
    }  # fmt: skip
    policy_kwargs = {"net_arch": [16], **kwargs.pop("policy_kwargs", {})}
    return cls("MlpPolicy", env, policy_kwargs=policy_kwargs, **(settings | CARTPOLE_RETURNS | kwargs))


def assert_same_run(one: Any, two: Any) -> None:
    """Assert that weights, optimizer and everything that was seen are the same, bit for bit."""
    assert one._n_updates == two._n_updates > 100
    weights = [dict(model.policy.named_parameters()) for model in (one, two)]
    shared = weights[0].keys() & weights[1].keys()
    assert {name for name in weights[0].keys() ^ weights[1].keys() if not name.endswith("sigma")} == set()
    for name in shared:
        assert th.equal(weights[0][name], weights[1][name]), name
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        np.testing.assert_array_equal(getattr(one.replay_buffer, name), getattr(two.replay_buffer, name))


# -- reductions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [DoubleDQN, DuelingDQN, PrioritizedDQN, NStepDQN, CategoricalDQN])
def test_double_changes_nothing_while_the_target_is_the_online_network(cls: type) -> None:
    """With the target synchronised before every update both networks are equal in all of them."""
    settings = {"target_update_interval": 1, "learning_rate": 0.02}
    runs = [make(cls, double=double, **settings).learn(125) for double in (False, True)]
    assert_same_run(*runs)


@pytest.mark.parametrize("cls", [DoubleDQN, DuelingDQN, PrioritizedDQN, NStepDQN, CategoricalDQN])
def test_double_changes_something_as_soon_as_they_differ(cls: type) -> None:
    """The proof that the test above can fail."""
    settings = {"target_update_interval": 200, "learning_rate": 0.02}
    runs = [make(cls, double=double, **settings).learn(125) for double in (False, True)]
    with pytest.raises(AssertionError):
        assert_same_run(*runs)


class TwoStreams:
    """A generator whose normal numbers come from a stream of their own, so that noise costs the others no draws."""

    def __init__(self) -> None:
        self.others, self.normal = np.random.default_rng(0), np.random.default_rng(1)

    def random(self, size: Any) -> Any:
        return self.others.random(size)

    def integers(self, high: int, size: Any) -> Any:
        return self.others.integers(high, size=size)

    def standard_normal(self, size: Any) -> Any:
        return self.normal.standard_normal(size)


@pytest.mark.parametrize("options", [{}, {"kind": "independent"}, {"noise": "activations"}], ids=str)
@pytest.mark.parametrize("cls", [NoisyDQN, DuelingDQN, CategoricalDQN, Rainbow])
def test_noise_of_sigma_zero_is_the_plain_algorithm_without_epsilon(cls: type, options: dict[str, Any]) -> None:
    """The σ are held at 0, since they are learned as well; the μ end as the plain network's weights, bit for bit."""
    runs = []
    for noisy in (False, True):
        model = make(
            cls,
            noisy=noisy,
            exploration_initial_eps=0.0,
            exploration_final_eps=0.0,
            policy_kwargs={"noisy_kwargs": {"sigma0": 0.0, **options}},
        )
        model.set_rng(TwoStreams())
        for name, parameter in model.policy.named_parameters():
            parameter.requires_grad_(not name.endswith("sigma"))
        runs.append(model)
    if options.get("kind") == "independent":  # whose μ have another start
        for nets in zip(*([run.q_net, run.q_net_target] for run in runs), strict=True):
            plain, noisy = nets
            plain.load_state_dict(noisy.state_dict(), strict=False)
    assert len(noisy_layers(runs[1].q_net)) > 0 == len(noisy_layers(runs[0].q_net))
    assert_same_run(*(model.learn(125) for model in runs))


def test_one_step_of_n_is_the_one_step_algorithm() -> None:
    one, n = make(DoubleDQN, double=False), make(NStepDQN, n_steps=1)
    assert_same_run(one.learn(125), n.learn(125))


@pytest.mark.parametrize("cls", [DoubleDQN, PrioritizedDQN, Rainbow])
def test_windows_of_one_step_are_the_transitions(cls: type) -> None:
    """The code of n steps, at n = 1, gives what the shorter way gives, for every transition of a full ring."""
    buffer = make(cls, n_steps=1, train_freq=1_000).learn(400).replay_buffer
    indices = np.arange(300)
    batch = buffer.gather(indices)
    last, rewards, powers = buffer._window(indices, None)
    np.testing.assert_array_equal(rewards, batch.rewards)
    np.testing.assert_array_equal(last, indices)
    terminated = (buffer.dones * (1 - buffer.timeouts)).reshape(-1)
    np.testing.assert_array_equal(powers * (1 - terminated), batch.discounts)
    assert 0 < (batch.discounts == 0).sum() < 50


class Batches(BaseCallback):
    """Keep every batch that was learned from, with the probabilities it was drawn with."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[np.ndarray] = []
        self.probabilities: list[np.ndarray] = []
        self.betas: list[float] = []

    def _on_training_start(self) -> None:
        buffer, gather = self.model.replay_buffer, self.model.replay_buffer.gather

        def watched(indices: np.ndarray, env: Any = None) -> Any:
            batch = gather(indices, env)
            self.weights.append(batch.weights)
            self.probabilities.append(buffer.probabilities(np.arange(buffer.size())))
            self.betas.append(buffer.beta)
            return batch

        buffer.gather = watched

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("cls", [PrioritizedDQN, Rainbow])
def test_with_alpha_0_every_weight_is_1_and_every_probability_1_in_n(cls: type) -> None:
    """In every update of a training whose priorities differ."""
    seen = Batches()
    make(cls, alpha=0.0, train_freq=4).learn(400, callback=seen)
    assert len(seen.weights) == 95
    for weights, probabilities in zip(seen.weights, seen.probabilities, strict=True):
        assert (weights == 1).all()
        assert (probabilities == 1 / len(probabilities)).all()


@pytest.mark.parametrize("cls", [PrioritizedDQN, Rainbow])
def test_weights_are_at_most_1_and_beta_rises_to_1(cls: type) -> None:
    """β is linear in the steps from 0.4 to 1 (Schaul et al. 2016, section 3.4), and the largest weight is exactly 1."""
    seen = Batches()
    make(cls, train_freq=4).learn(400, callback=seen)
    np.testing.assert_allclose(seen.betas, 0.4 + 0.6 * np.arange(24, 401, 4) / 400)
    assert all(weights.max() == 1 and weights.min() > 0 for weights in seen.weights)
    assert min(weights.min() for weights in seen.weights) < 0.9


@pytest.mark.parametrize("switches", [{}, {"n_atoms": 11}, {"double": True, "n_steps": 3}], ids=str)
def test_prioritized_with_alpha_0_and_the_same_draws_is_uniform_replay(switches: dict[str, Any]) -> None:
    runs = []
    for prioritized in (False, True):
        model = make(DoubleDQN, **{"double": False, **switches}, prioritized=prioritized, alpha=0.0)
        model.replay_buffer.draw = uniform(model.replay_buffer)
        runs.append(model.learn(125))
    assert isinstance(runs[1].replay_buffer, PrioritizedReplayBuffer)
    assert_same_run(*runs)


def uniform(buffer: Any) -> Callable[[int], np.ndarray]:
    """Return a draw of `buffer` from a generator that nothing else uses."""
    rng = np.random.default_rng(0)
    return lambda batch_size: rng.integers(buffer.size(), size=batch_size)


@pytest.mark.parametrize("switches", [{}, {"n_atoms": 11}, {"noisy": True, "n_atoms": 11}], ids=str)
def test_dueling_advantages_have_mean_0_and_a_constant_added_to_them_changes_nothing(switches: dict[str, Any]) -> None:
    """After training: outputs average to V; neither predictions nor gradients see the constant."""
    model = make(DuelingDQN, **switches).learn(200)
    batch = model.replay_buffer.sample_batch(64)
    observations = th.tensor(batch.observations)
    head = model.q_net.q_net
    actions = model.predict(batch.observations, deterministic=True)[0]
    before = model.q_net.outputs(observations)
    value = head.value(head.shared(observations))
    th.testing.assert_close(before.mean(1), value, rtol=1e-5, atol=1e-5)
    with th.no_grad():
        layer = head.advantage[-1]
        layer.bias.view(2, -1).add_(th.linspace(-2, 3, layer.out_features // 2))  # another constant for every atom
    th.testing.assert_close(model.q_net.outputs(observations), before, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(model.predict(batch.observations, deterministic=True)[0], actions)


@pytest.mark.filterwarnings("ignore:.* of the return distribution lies outside")
@pytest.mark.parametrize("cls", [CategoricalDQN, Rainbow])
def test_a_terminal_target_lies_on_two_neighbouring_atoms_with_the_clipped_reward_as_mean(cls: type) -> None:
    """What the engine asks for when the episode ends, whatever the networks say of the state behind."""
    model = make(cls, v_min=-2.0, v_max=3.0, n_atoms=26).learn(50)
    rewards = np.array([-5.0, -2.0, -1.93, 0.0, 0.1, 0.2, 2.99, 3.0, 7.0], dtype=np.float32)
    batch = model.replay_buffer.sample_batch(len(rewards))
    batch = batch._replace(rewards=rewards, discounts=np.zeros_like(rewards))
    batch = type(batch)(*map(model._backend.array, batch))
    _, next_outputs, selector = model._learner.outputs(batch)
    errors = model._learner.estimate.errors(
        next_outputs, model._backend.array(np.zeros(9, np.int64)), next_outputs, selector, batch
    )
    targets = errors.targets.numpy()
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(targets @ model.q_net.support.numpy(), np.clip(rewards, -2, 3), atol=1e-5)
    for row in targets:
        (atoms,) = np.nonzero(row > 1e-5)
        assert len(atoms) == 1 or (len(atoms) == 2 and atoms[1] == atoms[0] + 1)


# -- one update against its equation --------------------------------------------------------------------------------


class RecordedNormals:
    """A generator that keeps the normal numbers it gives."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.normals: list[np.ndarray] = []

    def random(self, size: Any) -> Any:
        return self.rng.random(size)

    def integers(self, high: int, size: Any) -> Any:
        return self.rng.integers(high, size=size)

    def standard_normal(self, size: Any) -> Any:
        self.normals.append(self.rng.standard_normal(size))
        return self.normals[-1]


ALGORITHMS: dict[str, tuple[type, dict[str, Any]]] = {
    "dqn": (DoubleDQN, {"double": False}),
    "double": (DoubleDQN, {}),
    "dueling": (DuelingDQN, {}),
    "prioritized": (PrioritizedDQN, {}),
    "n_step": (NStepDQN, {}),
    "noisy": (NoisyDQN, {}),
    "noisy double": (NoisyDQN, {"double": True, "policy_kwargs": {"noisy_kwargs": {"kind": "independent"}}}),
    "c51": (CategoricalDQN, {"v_min": 0.0, "v_max": 20.0}),
    "c51, averse": (CategoricalDQN, {"risk": "cvar:0.25"}),
    "rainbow": (Rainbow, {"v_min": 0.0, "v_max": 20.0}),
    "rainbow without noise": (Rainbow, {"noisy": False}),
    "rainbow without a distribution": (Rainbow, {"n_atoms": 1}),
}


def windows(model: Any, indices: np.ndarray) -> tuple[list[float], list[float], th.Tensor]:
    """Return the reward, discount and last observation of each window, walked through step by step."""
    buffer, gamma = model.replay_buffer, model.gamma
    rewards, discounts, following = [], [], []
    for slot in indices:
        total, power = 0.0, 1.0
        for step in range(model.n_steps):
            at = (slot + step) % buffer.buffer_size
            total, power = total + power * float(buffer.rewards[at, 0]), power * gamma
            terminated = bool(buffer.dones[at, 0]) and not buffer.timeouts[at, 0]
            if buffer.dones[at, 0] or buffer.timeouts[at, 0] or at == (buffer.pos - 1) % buffer.buffer_size:
                break
        rewards.append(total)
        discounts.append(0.0 if terminated else power)
        following.append(buffer.next_observations[at, 0])
    return rewards, discounts, th.tensor(np.array(following))


def projected(probabilities: th.Tensor, reward: float, discount: float, support: list[float]) -> list[float]:
    """Return the law of ``r + discount·Z'`` on the support, each atom's mass shared by its two neighbours."""
    gap, target = support[1] - support[0], [0.0] * len(support)
    for mass, atom in zip(probabilities.tolist(), support, strict=True):
        place = min(max(reward + discount * atom, support[0]), support[-1])
        for i, neighbour in enumerate(support):
            target[i] += mass * max(0.0, 1 - abs(place - neighbour) / gap)
    return target


def worst_quarter(probabilities: th.Tensor, support: list[float]) -> float:
    """Return the mean of the worst quarter of a law."""
    left, total = 0.25, 0.0
    for mass, atom in zip(probabilities.tolist(), support, strict=True):
        total += min(mass, left) * atom
        left -= min(mass, left)
    return total / 0.25


def judged(model: Any, outputs: th.Tensor) -> th.Tensor:
    """Return what the greedy choice compares, (B, A)."""
    if model.n_atoms == 1:
        return outputs[:, :, 0]
    laws = outputs.softmax(2)
    support = model.q_net.support.tolist()
    if model.risk == "cvar:0.25":
        return th.tensor([[worst_quarter(law, support) for law in row] for row in laws])
    return (laws * model.q_net.support).sum(2)


@pytest.mark.filterwarnings("ignore:.* of the return distribution lies outside")
@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_update_is_the_algorithms_equation(name: str) -> None:
    """Loss, gradients and priorities, with autograd and plain loops; networks apart, weights and noise as drawn."""
    cls, switches = ALGORITHMS[name]
    model = make(cls, max_grad_norm=float("inf"), gamma=0.9, train_freq=1_000, **switches).learn(400)
    generator = th.Generator().manual_seed(0)
    with th.no_grad():
        for parameter in [*model.q_net.parameters(), *model.q_net_target.parameters()]:
            parameter.add_(0.3 * th.randn(parameter.shape, generator=generator))
    rng, buffer = np.random.default_rng(0), model.replay_buffer
    buffer.rewards[:] = rng.normal(1, 2, (300, 1))
    if model.prioritized:
        buffer.update(np.arange(300), rng.exponential(size=300))
    ends = np.flatnonzero(buffer.dones[:, 0])[:6]
    batch = buffer.gather(np.concatenate([ends, rng.integers(300, size=32 - len(ends))]))
    assert (np.ptp(batch.weights) > 0.1) == model.prioritized
    assert 0 < (batch.discounts == 0).sum() < 32

    online, chooser, target = copy.deepcopy(model.q_net), copy.deepcopy(model.q_net), copy.deepcopy(model.q_net_target)
    model.set_rng(RecordedNormals())
    loss = model._update(batch)
    normals = iter(model.rng.normals)
    for net in [target, *[chooser] * model.double, online]:  # the order in which the engine draws
        reset_noise(net, lambda size: next(normals))
    assert next(normals, None) is None

    rewards, discounts, following = windows(model, batch.indices)
    rows = range(32)
    with th.no_grad():
        outputs = target(following) if model.n_atoms == 1 else target.outputs(following)
        outputs = outputs.view(32, 2, -1)
        choice = judged(model, chooser.outputs(following) if model.double else outputs).argmax(1)
        picked = outputs[rows, choice]
    estimates = online.outputs(th.tensor(batch.observations))[rows, batch.actions[:, 0]]
    if model.n_atoms == 1:
        y = th.tensor(rewards) + th.tensor(discounts) * picked[:, 0]
        losses = F.smooth_l1_loss(estimates[:, 0], y, reduction="none")
        priorities = (estimates[:, 0] - y).abs()
    else:
        support = model.q_net.support.tolist()
        laws = [projected(p, r, d, support) for p, r, d in zip(picked.softmax(1), rewards, discounts, strict=True)]
        y = th.tensor(laws)
        losses = -(y * estimates.log_softmax(1)).sum(1)
        priorities = F.kl_div(estimates.log_softmax(1), y, reduction="none").sum(1)
    expected = (losses * th.tensor(batch.weights)).mean()
    expected.backward()

    assert loss == pytest.approx(expected.item(), rel=1e-5)
    largest = 0.0
    for (parameter, mine), theirs in zip(model.q_net.named_parameters(), online.parameters(), strict=True):
        scale = max(1.0, float(theirs.grad.abs().max()))
        assert float((mine.grad - theirs.grad).abs().max()) < 1e-6 * scale, parameter
        largest = max(largest, float(theirs.grad.abs().max()))
    assert largest > 1e-2
    if model.prioritized:
        leaves = (priorities.detach().double().numpy() + 1e-6) ** model.alpha
        newest = dict(zip(batch.indices, leaves, strict=True))
        np.testing.assert_allclose(model.replay_buffer.tree[np.array([*newest])], [*newest.values()], rtol=2e-3)
