"""Steps per second on an Atari game, beside SB3's DQN with the same network, and which part takes how long.

    python benchmarks/atari.py [--device cuda] [--steps 600] [--algo double_dqn rainbow] [--batch-size 32] [--n-envs 1]
    python benchmarks/atari.py --device cuda --algo btr --n-envs 64 --batch-size 256 --train-freq 1 --gradient-steps 1

"off" is our engine with every switch off, which computes what SB3's DQN computes. Both take turns; ratios are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import torch as th

from sb3_course.config.text import read_value
from sb3_course.registry import find
from sb3_course.runs.environment import training_env
from sb3_course.runs.settings import Settings

ENV = "ALE/Breakout-v5"
WARM = 200


def make(name: str, options: argparse.Namespace) -> Any:
    """Return a model of one kind, warm: past the first updates."""
    own = {"off": "double_dqn", "sb3": "dqn"}.get(name, name)
    settings = Settings.resolve(own, ENV, {"n_timesteps": 10**6, "n_envs": options.n_envs, "vec_env": options.vec_env})
    arguments: dict[str, Any] = {
        "buffer_size": 2000, "learning_starts": 64, "batch_size": options.batch_size, "train_freq": options.train_freq,
        "gradient_steps": options.gradient_steps or options.n_envs, "target_update_interval": 1000,
        "exploration_fraction": 1e-9, "exploration_final_eps": 0.01, "learning_rate": 1e-4, "seed": 0,
        "device": options.device,
    }  # fmt: skip
    if name == "off":
        arguments["double"] = False
    if name != "sb3":
        arguments["backend_kwargs"] = read_value(options.backend_kwargs)
    if name not in ("off", "sb3"):
        hyperparameters = {k: v for k, v in settings.hyperparameters.items() if k not in arguments}
        arguments |= hyperparameters
    model = find(own).load()("CnnPolicy", training_env(settings), **arguments)
    model.learn(WARM)
    return model


def turn(model: Any, steps: int) -> float:
    """Return the seconds of one step."""
    started = time.perf_counter()
    before = model.num_timesteps
    model.learn(steps, reset_num_timesteps=False)
    wait(model)
    return (time.perf_counter() - started) / (model.num_timesteps - before)


def wait(model: Any) -> None:
    """Let a GPU finish what it was given."""
    if model.device.type == "cuda":
        th.cuda.synchronize()


def microseconds(work: Callable[[], Any], model: Any, times: int) -> float:
    """Return how long a call takes, at best of three."""
    best = float("inf")
    for _ in range(3):
        work()
        wait(model)
        started = time.perf_counter()
        for _ in range(times):
            work()
        wait(model)
        best = min(best, (time.perf_counter() - started) / times)
    return best * 1e6


def shares(model: Any, batch_size: int) -> dict[str, float]:
    """Return the parts of four steps and an update, in microseconds, each by itself."""
    env, policy = model.get_env(), model.policy
    observation = env.reset()
    actions = np.zeros(env.num_envs, dtype=int)
    info, reward, done = [{}] * env.num_envs, np.zeros(env.num_envs), np.zeros(env.num_envs, bool)
    batch = model.replay_buffer.sample_batch(batch_size)
    tensor = model._backend.array(batch.observations)
    network = model.q_net

    def bare() -> None:
        with th.no_grad():
            network.outputs(acting)

    acting = policy.obs_to_tensor(observation)[0]
    return {
        "4 env": 4 * microseconds(lambda: env.step(actions), model, 50),
        "4 act, network": 4 * microseconds(bare, model, 50),
        "4 act, rest": 4 * microseconds(lambda: policy.predict(observation, deterministic=True), model, 50)
        - 4 * microseconds(bare, model, 50),
        "4 store": 4 * microseconds(
            lambda: model.replay_buffer.add(observation, observation, actions, reward, done, info), model, 50),
        "draw a batch": microseconds(lambda: model.replay_buffer.sample_batch(batch_size), model, 20),
        "transfer": microseconds(lambda: model._backend.array(batch), model, 20),
        "floats / 255": microseconds(lambda: tensor.float() / 255, model, 20),
        "update": microseconds(lambda: model.train(1, batch_size), model, 5),
    }  # fmt: skip


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--n-envs", type=int, default=1)
    parser.add_argument("--vec-env", default="dummy", choices=["dummy", "subproc"])
    parser.add_argument("--train-freq", type=int, default=4, help="steps of all environments between updates")
    parser.add_argument("--gradient-steps", type=int, default=0, help="updates then; by default one an environment")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--algo", nargs="+", default=["off", "double_dqn", "rainbow"])
    parser.add_argument("--backend-kwargs", default="None", help="dict(amp=True, channels_last=True)")
    options = parser.parse_args()
    th.set_num_threads(options.threads)
    models = {name: make(name, options) for name in ("sb3", *options.algo)}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(options.turns):
        for name, model in models.items():
            times[name].append(turn(model, options.steps))
    print("| | steps/s | frames/s | of SB3's DQN |\n|---|---:|---:|---:|")
    for name, seconds in times.items():
        rate = 1 / statistics.median(seconds)
        ratio = statistics.median(s / own for s, own in zip(times["sb3"], seconds, strict=True))
        print(f"| {name} | {rate:,.0f} | {4 * rate:,.0f} | {ratio:.2f} |")
    if th.cuda.is_available() and options.device != "cpu":
        print(f"{th.cuda.get_device_name()}, {th.cuda.max_memory_allocated() / 1e9:.2f} GB of it for all of them")
    print(f"{psutil.Process().memory_info().rss / 1e9:.2f} GB of this machine's memory for all of them")
    for name in options.algo:
        parts = shares(models[name], options.batch_size)
        whole = sum(parts[part] for part in parts if part not in ("draw a batch", "transfer", "floats / 255"))
        print(f"\n{name}, four steps and an update, in microseconds ({whole:,.0f}):")
        print("; ".join(f"{part} {value:,.0f} ({value / whole:.0%})" for part, value in parts.items()))


if __name__ == "__main__":
    main()
