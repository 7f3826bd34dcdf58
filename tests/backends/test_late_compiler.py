"""torch's compiler is not imported for a model that never needs it, and is heard as ever once somebody imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from torch.optim import Optimizer
from sb3_course import DoubleDQN

names = ("zero_grad", "add_param_group", "state_dict", "load_state_dict")
model = DoubleDQN("MlpPolicy", "CartPole-v1", learning_starts=20, batch_size=8, backend="numpy", seed=0).learn(40)
model.save(sys.argv[1])
optimizer = DoubleDQN.load(sys.argv[1]).policy.optimizer
assert "torch._dynamo" not in sys.modules
plain = {name: getattr(Optimizer, name).__wrapped__ for name in names}
assert not any(hasattr(getattr(each, "__dynamo_disable"), "_torchdynamo_disable") for each in plain.values())

import torch
before = optimizer.state_dict()
graphs = []

def graph(module, inputs):
    graphs.append(module)
    return module.forward

@torch.compile(backend=graph)
def step(x):
    x = x + 1
    optimizer.zero_grad()
    return x * 2

assert step(torch.ones(3)).tolist() == [4.0] * 3
assert len(graphs) == 2  # the method is still kept out of them, and what is around it is not
optimizer.load_state_dict(optimizer.state_dict())
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
for name, each in plain.items():
    assert getattr(each, "__dynamo_disable")._torchdynamo_disable, name
assert before["param_groups"][0].keys() == optimizer.state_dict()["param_groups"][0].keys()
"""


def test_it_waits_until_somebody_compiles(tmp_path: Path) -> None:
    line = [sys.executable, "-c", PROGRAM, str(tmp_path / "model.zip")]
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
