"""A network taken apart by its user: the backend must work on the layers that are there now."""

import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_course import DoubleDQN


@pytest.mark.parametrize("layer", [0, 2])
def test_a_layer_put_into_the_networks_is_trained_clipped_and_synchronised(layer):
    """Transfer learning: one layer of both networks is new, whichever it is, and the rest stays."""
    settings = {
        "learning_starts": 10,
        "buffer_size": 200,
        "target_update_interval": 50,
        "backend": "torch",
        "policy_kwargs": {"net_arch": [8]},
    }
    model = DoubleDQN("MlpPolicy", "CartPole-v1", seed=0, **settings).learn(40)
    for net in (model.q_net, model.q_net_target):
        old = net.q_net[layer]
        net.q_net[layer] = nn.Linear(old.in_features, old.out_features)
    model.policy.optimizer = th.optim.Adam(model.q_net.parameters(), lr=1e-3)
    model.learn(40)
    model._backend.update_target(1.0)
    assert th.equal(model.q_net.q_net[layer].weight, model.q_net_target.q_net[layer].weight)
    batch = model.replay_buffer.gather(th.arange(8).numpy())
    for _ in range(2):  # gradients of one update do not pile up on those of the update before
        model._backend.forward(th.as_tensor(batch.observations))
        model._backend.backward(th.ones(8, 2, 1))
        gradient = model.q_net.q_net[layer].weight.grad.clone()
    model.q_net.zero_grad()
    model.q_net.outputs(th.as_tensor(batch.observations)).backward(th.ones(8, 2, 1))
    assert th.equal(gradient, model.q_net.q_net[layer].weight.grad)


def test_layers_that_share_a_parameter_are_torchs():
    """In NumPy each layer would write its own gradient over that of the other."""
    model = DoubleDQN("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs={"net_arch": [8, 8, 8]})
    assert model._backend.name == "numpy"
    layers = model.q_net.q_net
    layers[4].weight = layers[2].weight
    model._bind()
    assert model._backend.name == "torch"
    assert "share a parameter" in model._backend.why


def test_another_activation_is_computed_with():
    model = DoubleDQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"net_arch": [8]})
    assert model._backend.name == "numpy"
    model.q_net.q_net[1] = nn.Tanh()
    model._bind()
    seen = np.array([[0.1, -0.2, 0.3, 0.4]], np.float32)
    expected = model.q_net(th.from_numpy(seen)).detach().numpy()
    np.testing.assert_allclose(model._backend.act(seen)[:, :, 0], expected, rtol=1e-5)
