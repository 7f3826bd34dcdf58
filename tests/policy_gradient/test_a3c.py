"""A3C: what workers learn, what the calling process hears of it, and that nothing is left behind.

Most workers here are forked from one server; the equality with the synchronous rule and the parent that is killed have
workers as users have them.
"""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from sb3_course import A3C, ActorCritic
from sb3_course.config.errors import InputError
from sb3_course.policy_gradient import a3c_workers
from sb3_course.runs import Settings, Watch, execute, resume

SMALL = {"seed": 3, "device": "cpu", "policy_kwargs": {"shared_layers": [8]}}


class EveryStep(BaseCallback):
    """Calls `act` at every step, and counts."""

    def __init__(self, act=lambda callback: True):
        super().__init__()
        self.act, self.steps, self.rewards = act, 0, 0.0

    def _on_step(self) -> bool:
        self.steps += 1
        self.rewards += float(self.locals["rewards"].sum())
        assert len(self.locals["infos"]) == len(self.locals["dones"]) == 1
        return self.act(self)


class Failing(gym.Wrapper):
    """Raises after a while."""

    def step(self, action):
        if self.env.unwrapped.state is not None and self.env.get_wrapper_attr("_elapsed_steps") >= 5:
            raise OverflowError("the env is broken")
        return super().step(action)


def gone(pid, seconds=60):
    """Whether a process is no more; one that still imports when its parent dies needs its time to notice."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def workers():
    return [child.pid for child in multiprocessing.active_children() if child.name.startswith("A3C worker")]


def test_one_worker_equals_the_synchronous_rule():
    assert a3c_workers.START_METHOD == "spawn"
    asynchronous = A3C("MlpPolicy", "CartPole-v1", n_workers=1, learning_rate=lambda left: 1e-2 * left, **SMALL)
    synchronous = ActorCritic(
        "MlpPolicy", "CartPole-v1", n_steps=5, gae_lambda=1.0, learning_rate=lambda left: 1e-2 * left,
        **{**SMALL, "policy_kwargs": asynchronous.policy_kwargs},
    )  # fmt: skip
    start = [parameter.clone() for parameter in asynchronous.policy.parameters()]
    watch = EveryStep()
    asynchronous.learn(603, watch)
    synchronous.learn(603)
    assert asynchronous.num_timesteps == synchronous.num_timesteps == watch.steps == 605
    mine, theirs = (list(model.policy.parameters()) for model in (asynchronous, synchronous))
    assert all(th.equal(one, two) for one, two in zip(mine, theirs, strict=True))
    assert not any(th.equal(one, two) for one, two in zip(mine, start, strict=True))
    states = [model.policy.optimizer.state_dict()["state"] for model in (asynchronous, synchronous)]
    assert all(th.equal(states[0][i]["square_avg"], states[1][i]["square_avg"]) for i in states[1])
    assert [info["r"] for info in asynchronous.ep_info_buffer] == [info["r"] for info in synchronous.ep_info_buffer]
    assert watch.rewards == 605


@pytest.mark.usefixtures("workers_from_one_server")
def test_several_workers_share_the_steps_and_a_model_goes_through_a_file(tmp_path):
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    seen = set()
    model = A3C("MlpPolicy", env, **SMALL)
    model.learn(1_500, EveryStep(lambda callback: not seen.add(callback.locals["worker"])))
    assert seen == {0, 1}
    assert 1_500 <= model.num_timesteps < 1_500 + 2 * 5
    assert workers() == []
    model.save(tmp_path / "a3c")
    loaded = A3C.load(tmp_path / "a3c", env=env)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    assert (
        loaded.predict(observations, deterministic=True)[0] == model.predict(observations, deterministic=True)[0]
    ).all()
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded.num_timesteps >= model.num_timesteps + 100


@pytest.mark.usefixtures("workers_from_one_server")
def test_a_callback_stops_training():
    model = A3C("MlpPolicy", "CartPole-v1", n_workers=2, **SMALL)
    model.learn(100_000, EveryStep(lambda callback: callback.steps < 37))
    assert model.num_timesteps == 37
    assert workers() == []


@pytest.mark.usefixtures("workers_from_one_server")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_in_a_callback_ends_every_worker(error):
    pids = []

    def act(callback):
        pids.extend(workers())
        raise error

    with pytest.raises(error):
        A3C("MlpPolicy", "CartPole-v1", n_workers=2, **SMALL).learn(100_000, EveryStep(act))
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.usefixtures("workers_from_one_server")
def test_a_killed_worker_is_one_clear_error_and_leaves_no_process():
    pids = []

    def act(callback):
        if callback.steps == 20:
            pids.extend(workers())
            os.kill(pids[1], signal.SIGKILL)
        return True

    with pytest.raises(RuntimeError, match=r"^A3C worker \d \(process \d+\) was killed by signal 9; training has stop"):
        A3C("MlpPolicy", "CartPole-v1", n_workers=2, **SMALL).learn(100_000, EveryStep(act))
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.usefixtures("workers_from_one_server")
def test_what_an_env_raises_in_a_worker_is_raised_here():
    env = Failing(gym.make("CartPole-v1"))
    with pytest.raises(OverflowError, match="the env is broken") as caught:
        A3C("MlpPolicy", env, n_workers=1, **SMALL).learn(1_000)
    assert "raised in A3C worker 0" in caught.value.__notes__[0]
    assert workers() == []


@pytest.mark.skipif(not os.path.exists("/proc"), reason="reads the process table")
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing\n"
        "from stable_baselines3.common.callbacks import BaseCallback\n"
        "from sb3_course import A3C\n"
        "class Tell(BaseCallback):\n"
        "    def _on_step(self):\n"
        "        if self.n_calls == 1:\n"
        "            print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        return True\n"
        "if __name__ == '__main__':\n"
        "    A3C('MlpPolicy', 'CartPole-v1', n_workers=1, device='cpu').learn(10_000_000, Tell())\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(pids) == 1
    assert all(gone(pid) for pid in pids)


def subproc():
    return SubprocVecEnv([lambda: gym.make("CartPole-v1")], start_method="fork")


@pytest.mark.parametrize(
    "wrap",
    [lambda: VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")])), subproc],
    ids=["norm", "sub"],
)
def test_envs_that_cannot_be_handed_out_are_refused(wrap):
    env = wrap()
    try:
        with pytest.raises(InputError, match="env: every worker needs an env of its own"):
            A3C("MlpPolicy", env, **SMALL).learn(10)
    finally:
        env.close()


@pytest.mark.usefixtures("workers_from_one_server")
@pytest.mark.parametrize("n_envs", [1, 2])
def test_an_env_with_an_open_file_is_named(tmp_path, n_envs):
    env = make_vec_env("CartPole-v1", n_envs, monitor_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"env: cannot be handed to a worker process: .* without a filename"):
        A3C("MlpPolicy", env, **SMALL).learn(10)
    assert workers() == []


@pytest.mark.parametrize(
    ("optimizer", "start"),
    [({"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}, 1.0), ({}, 0.0)],
    ids=["tf", "torch"],
)
def test_shared_statistics_start_as_the_optimizer_starts(optimizer, start):
    model = A3C("MlpPolicy", "CartPole-v1", **{**SMALL, "policy_kwargs": {"shared_layers": [8], **optimizer}})
    shared = a3c_workers.share(model.policy)
    assert set(shared.statistics["square_avg"].tolist()) == {start}
    assert set(shared.statistics["step"].tolist()) == {0.0}


@pytest.mark.parametrize(
    ("arch", "trunk", "streams"),
    [(None, [64, 64], []), ([8, 5], [8, 5], []), ({"pi": [4], "vf": [3]}, [64, 64], [4, 3])],
    ids=str,
)
@pytest.mark.parametrize("policy", ["MlpPolicy", "GaussianMlpPolicy", "NoisyMlpPolicy"])
def test_actor_and_critic_share_a_trunk_by_default_whatever_the_policy(policy, arch, trunk, streams):
    given = {} if arch is None else {"net_arch": arch}
    model = A3C(policy, "Pendulum-v1", device="cpu", policy_kwargs=given)
    extractor = model.policy.mlp_extractor
    widths = [[layer.out_features for layer in part if hasattr(layer, "out_features")]
              for part in (extractor.trunk, extractor.policy_net, extractor.value_net)]  # fmt: skip
    assert widths == [trunk, streams[:1], streams[1:]]
    apart = A3C(policy, "Pendulum-v1", device="cpu", policy_kwargs={**given, "shared_layers": None})
    assert not hasattr(apart.policy.mlp_extractor, "trunk")


def test_the_figures_are_those_of_whom_the_docstring_names():
    said = " ".join(A3C.__doc__.split())
    paper, _, other = said.partition("The paper's hyperparameters")[2].partition("SB3's A2C has")
    papers, a2cs = (dict(re.findall(r"``(\w+)=([\d.e-]+)``", part)) for part in (paper, other))
    model, a2c = A3C("MlpPolicy", "CartPole-v1", **SMALL), A2C("MlpPolicy", "CartPole-v1", device="cpu")
    group = model.policy.optimizer.param_groups[0]
    mine = {name: float(group[name] if name in ("alpha", "eps") else getattr(model, name)) for name in (papers | a2cs)}
    theirs = {name: float(getattr(a2c, name)) for name in a2cs if name != "eps"}
    assert papers.keys() == {"n_steps", "gamma", "alpha"}
    assert mine == {name: float(value) for name, value in (papers | a2cs).items()}
    assert {name: mine[name] for name in theirs} == theirs
    assert mine["eps"] == a2c.policy.optimizer.param_groups[0]["eps"]
    assert int(re.search(r"up to (\d+) rollouts of each", said)[1]) == a3c_workers.AHEAD


@pytest.mark.usefixtures("workers_from_one_server")
def test_a_schedule_falls_with_the_steps_of_all_workers_together(monkeypatch):
    """99 rollouts of 5 steps end within 498 steps, whoever took them; those that end beyond learn nothing."""
    monkeypatch.setattr(a3c_workers, "AHEAD", 2)  # so that one does not take them all before the other is there
    model = A3C("MlpPolicy", "CartPole-v1", n_workers=2, learning_rate=lambda left: left, **SMALL)
    rates, hear = [], model._hear

    def heard(rollout, callback):
        rates.append(rollout.logs["train/learning_rate"])
        time.sleep(0.01)
        return hear(rollout, callback)

    model._hear = heard
    model.learn(498)
    rates.sort(reverse=True)
    np.testing.assert_allclose(rates[:99], 1 - 5 * np.arange(1, 100) / 498, rtol=1e-9)
    assert set(rates[99:]) == {0.0}
    assert len(rates) <= 101


def test_contradictions_are_refused():
    for arguments, field in (({"n_workers": 0}, "n_workers"), ({"n_steps": None}, "n_steps"), ({"psi": "vpg"}, "psi")):
        with pytest.raises(InputError, match=f"^{field}: "):
            A3C("MlpPolicy", "CartPole-v1", **{**SMALL, **arguments})


@pytest.mark.usefixtures("workers_from_one_server")
def test_nothing_remains_of_training_after_a_rollout_beyond_the_budget():
    model = A3C("MlpPolicy", "CartPole-v1", n_workers=1, learning_rate=lambda left: 1e-2 * left, **SMALL)
    model.learn(13)
    assert model.num_timesteps == 15
    assert model._current_progress_remaining == 0.0
    assert model.logger.name_to_value["train/learning_rate"] == 0.0  # of the worker


@pytest.mark.usefixtures("workers_from_one_server")
@pytest.mark.parametrize("algo", ["a3c", "ars"])
def test_a_resume_that_cannot_be_exact_says_so(tmp_path, algo):
    own = {"n_workers": 1} if algo == "a3c" else {"n_delta": 1, "n_top": 1}
    settings = Settings(
        algo=algo, env="CartPole-v1", n_timesteps=400, save_freq=100, eval_freq=0, final_episodes=1, hyperparameters=own
    )
    stops = iter([False] * 3 + [True] * 1000)
    assert not execute(settings, tmp_path / "run", Watch(stop=lambda: next(stops))).finished
    result, lost = resume(tmp_path / "run")
    assert result.finished
    assert result.timesteps >= 400
    assert f"{algo} does not resume exactly" in lost
