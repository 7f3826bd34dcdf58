"""Whatever is wrong with the input: one line on stderr, exit status 2, and not a file more than before."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from sb3_course.train import main

SHORT = ["--algo", "dqn", "-n", "2000"]
FILES = {
    "malformed.yaml": "gamma: [0.9\n",
    "duplicate.yaml": "gamma: 0.9\ngamma: 0.8\n",
    "list.yaml": "- gamma\n",
    "tag.yaml": "gamma: !!python/object/apply:os.system ['touch pwned']\n",
    "unknown_key.yaml": "n_timestep: 2000\n",
    "callback.yaml": "callback: my.Callback\nn_timesteps: 2000\n",
    "own_class.yaml": "policy_kwargs: {features_extractor_class: mymod.MyNet}\n",
    "other_algo.yaml": "algo: ppo\nenv: CartPole-v1\nn_timesteps: 2000\n",
    "zoo.yaml": "CartPole-v1:\n  n_timesteps: 2000\nPendulum-v1:\n  n_timesteps: 2000\n",
    "bad_value.yaml": "n_timesteps: 2000\ngamma: high\n",
    "bad_normalize.yaml": "n_timesteps: 2000\nnormalize: {norm_ops: true}\n",
    "anchors.yaml": "a: &a [1, 2, 3, 4, 5, 6, 7, 8]\n"
    + "".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n" for before, name in pairwise("abcdefghi")),
    "no_run/notes.txt": "mine\n",
    "finished/config.yaml": "algo: dqn\nenv: CartPole-v1\nn_timesteps: 2000\n",
    "finished/status.json": '{"state": "finished"}\n',
    "begun/config.yaml": "algo: dqn\nenv: CartPole-v1\nn_timesteps: 2000\n",
    "begun/status.json": '{"state": "running"}\n',
    "damaged/config.yaml": "algo: dqn\nenv: CartPole-v1\nn_timesteps: 2000\n",
    "damaged/checkpoints/1000/model.zip": "no zip",
    "damaged/checkpoints/1000/state.npz": "no zip either",
    "many/seeds.json": "{}",
    "many/seed_0/config.yaml": "algo: dqn\nenv: CartPole-v1\nn_timesteps: 3000\n",
    "damaged_many/seeds.json": "{}",
    "file": "",
}

# What is typed, the field that the line has to name, and a word that it has to hold.
CASES = {
    "unknown algorithm": (["--algo", "dnq"], "algo", "did you mean 'dqn'?"),
    "unknown algorithm, nothing near": (["--algo", "zzz"], "algo", "unknown algorithm"),
    "unknown env": ([*SHORT, "--env", "CartPole-v9"], "env", "did you mean 'CartPole-v1'?"),
    "unknown env of ours": (
        [*SHORT, "--env", "sb3_course/GridWord-v0"], "env", "did you mean 'sb3_course/GridWorld-v0'?",
    ),
    "env from a missing module": ([*SHORT, "--env", "no_such_module:Env-v0"], "env", "--import no_such_module"),
    "env from a library that has none": ([*SHORT, "--env", "gymnasium:Env-v0"], "env", "no environment"),
    "a device that is not there": ([*SHORT, "--device", "cuda:99"], "device", "is not there (got 'cuda:99'"),
    "another device that is not there": ([*SHORT, "--device", "xpu:7"], "device", "is not there"),
    "anchors that explode": ([*SHORT, "--config", "anchors.yaml"], "anchors.yaml", "aliases"),
    "empty env": ([*SHORT, "--env", ""], "env", "not a name"),
    "unknown flag": ([*SHORT, "--sed", "1"], "--sed", "did you mean '--seed'?"),
    "abbreviated flag": ([*SHORT, "--see", "1"], "--see", "unknown flag"),
    "flag without its value": ([*SHORT, "--seed"], "--seed", "expected one argument"),
    "a word too many": ([*SHORT, "extra"], "command line", "'extra'"),
    "budget is no number": (["--algo", "dqn", "-n", "many"], "n_timesteps", "'many'"),
    "budget is a fraction": (["--algo", "dqn", "-n", "1000.5"], "n_timesteps", "1000.5"),
    "budget is zero": (["--algo", "dqn", "-n", "0"], "n_timesteps", "out of bounds"),
    "budget below learning_starts": (["--algo", "dqn", "-n", "500"], "n_timesteps", "before learning starts"),
    "negative seed": ([*SHORT, "--seed", "-1"], "seed", "out of bounds"),
    "huge seed": ([*SHORT, "--seed", "99999999999"], "seed", "out of bounds"),
    "no environments": ([*SHORT, "--n-envs", "0"], "n_envs", "out of bounds"),
    "a fraction of an environment": ([*SHORT, "--n-envs", "2.5"], "n_envs", "not an integer"),
    "unknown vec env": ([*SHORT, "--vec-env", "thread"], "vec_env", "dummy or subproc"),
    "unknown device": ([*SHORT, "--device", "gpu"], "device", "'gpu'"),
    "frame stack of zero": ([*SHORT, "--frame-stack", "0"], "frame_stack", "out of bounds"),
    "no evaluation episodes": ([*SHORT, "--eval-episodes", "0"], "eval_episodes", "out of bounds"),
    "checkpoints every -5 steps": ([*SHORT, "--save-freq", "-5"], "save_freq", "out of bounds"),
    "unknown verbosity": ([*SHORT, "--verbose", "9"], "--verbose", "0, 1 or 2"),
    "unknown hyperparameter": (
        [*SHORT, "-params", "learning_rat:0.1"], "learning_rat", "did you mean 'learning_rate'?",
    ),
    "hyperparameter of another algorithm": ([*SHORT, "-params", "clip_range:0.2"], "clip_range", "no such"),
    "hyperparameter out of bounds": ([*SHORT, "-params", "gamma:1.5"], "gamma", "1.5"),
    "hyperparameter is not finite": ([*SHORT, "-params", "learning_rate:1e999"], "learning_rate", "inf"),
    "hyperparameter of the wrong type": ([*SHORT, "-params", "batch_size:many"], "batch_size", "'many'"),
    "pair without a colon": ([*SHORT, "-params", "gamma=0.9"], "-params", "'gamma=0.9'"),
    "pair without a value": ([*SHORT, "-params", "gamma:"], "-params", "'gamma:'"),
    "pair twice": ([*SHORT, "-params", "gamma:0.9", "gamma:0.8"], "-params", "twice"),
    "code in a value": ([*SHORT, "-params", "gamma:__import__('os').system('touch pwned')"], "gamma", "cannot read"),
    "code in a dict": (
        [*SHORT, "-params", "policy_kwargs:dict(net_arch=[open('pwned','w')])"], "policy_kwargs", "cannot",
    ),
    "unbalanced value": ([*SHORT, "-params", "policy_kwargs:dict(net_arch=["], "policy_kwargs", "cannot read"),
    "seed as a hyperparameter": ([*SHORT, "-params", "seed:1"], "-params", "--seed"),
    "environments as a hyperparameter": ([*SHORT, "-params", "n_envs:2"], "-params", "--n-envs"),
    "unknown argument of the policy": ([*SHORT, "-params", "policy_kwargs:dict(net_arhc=[8])"], "dqn", "net_arhc"),
    "unknown policy": ([*SHORT, "-params", "policy:MlpPolice"], "policy", "did you mean 'MlpPolicy'?"),
    "episodes of two environments": (
        [*SHORT, "--n-envs", "2", "-params", "train_freq:(1, 'episode')"], "train_freq", "single environment",
    ),
    "policy that does not fit": ([*SHORT, "-params", "policy:CnnPolicy"], "dqn", "want"),
    "missing config": ([*SHORT, "--config", "absent.yaml"], "absent.yaml", "No such file"),
    "config is a folder": ([*SHORT, "--config", "no_run"], "no_run", "cannot read the file"),
    "malformed YAML": ([*SHORT, "--config", "malformed.yaml"], "malformed.yaml", "line"),
    "key twice": ([*SHORT, "--config", "duplicate.yaml"], "duplicate.yaml", "duplicate key 'gamma'"),
    "config is a list": ([*SHORT, "--config", "list.yaml"], "list.yaml", "mapping"),
    "code in YAML": ([*SHORT, "--config", "tag.yaml"], "tag.yaml", "python/object/apply"),
    "unknown key": (["--algo", "dqn", "--config", "unknown_key.yaml"], "n_timestep", "did you mean 'n_timesteps'?"),
    "callback of a module that was not imported": (
        ["--algo", "dqn", "--config", "callback.yaml"], "callback", "--import my",
    ),
    "missing callback": (
        [*SHORT, "-params", "callback:sb3_course.sb3.callbacks.StopTrainingOnSolve"], "callback", "did you mean",
    ),
    "callback that is none": ([*SHORT, "-params", "callback:gymnasium.Env"], "callback", "BaseCallback"),
    "callback without its argument": (
        [*SHORT, "-params", "callback:stable_baselines3.common.callbacks.CheckpointCallback"], "callback", "save_freq",
    ),
    "wrapper of the wrong level": (
        [*SHORT, "-params", "vec_env_wrapper:gymnasium.wrappers.TimeLimit"], "vec_env_wrapper", "VecEnvWrapper",
    ),
    "code in a callback": ([*SHORT, "-params", "callback:my.Callback(a=exit())"], "callback", "cannot read"),
    "unknown argument of the monitor": (
        [*SHORT, "-params", "monitor_kwargs:dict(info_keyword=('a',))"], "monitor_kwargs", "'info_keywords'",
    ),
    "monitor with a file of its own": (
        [*SHORT, "-params", "monitor_kwargs:dict(filename='x')"], "monitor_kwargs", "run folder",
    ),
    "class of a module that was not imported": (
        [*SHORT, "--config", "own_class.yaml"], "policy_kwargs", "--import mymod",
    ),
    "policy of a module that was not imported": (
        [*SHORT, "-params", "policy:mymod.MyPolicy"], "policy", "--import mymod",
    ),
    "policy that is none": ([*SHORT, "-params", "policy:gymnasium.Env"], "policy", "BasePolicy"),
    "argument of the evaluations' env": (
        [*SHORT, "--eval-env-kwargs", "gravitation:1"], "eval_env_kwargs", "gravitation",
    ),
    "log interval of zero": ([*SHORT, "--log-interval", "0"], "log_interval", "zero"),
    "log interval of -3": ([*SHORT, "--log-interval", "-3"], "log_interval", "out of bounds"),
    "a fraction of a thread": ([*SHORT, "--num-threads", "1.5"], "num_threads", "not an integer"),
    "alias without its value": ([*SHORT, "-conf"], "--config", "expected one argument"),
    "value of a config": (["--algo", "dqn", "--config", "bad_value.yaml"], "gamma", "'high'"),
    "normalize key of a config": (["--algo", "dqn", "--config", "bad_normalize.yaml"], "normalize", "norm_obs"),
    "config of another algorithm": (["--algo", "dqn", "--config", "other_algo.yaml"], "algo", "'ppo'"),
    "config has no such env": (
        ["--config", "zoo.yaml", "--env", "CartPole-v0"], "--config", "did you mean 'CartPole-v1'?",
    ),
    "unknown article": (["--preset", "pytorch-dqn-tutoria"], "preset", "did you mean 'pytorch-dqn-tutorial'?"),
    "article and config": (["--preset", "notes-dqn", "--config", "zoo.yaml"], "--preset", "--config"),
    "unknown argument of the env": ([*SHORT, "--env-kwargs", "gravitation:1"], "env_kwargs", "gravitation"),
    "malformed argument of the env": ([*SHORT, "--env-kwargs", "gravity"], "--env-kwargs", "malformed"),
    "argument of the env that is no JSON": ([*SHORT, "--env-kwargs", "a:nn.ReLU"], "env_kwargs", "JSON"),
    "wrapper of a missing module": ([*SHORT, "--env-wrapper", "no_such_module:W"], "env_wrapper", "no_such_module"),
    "missing wrapper": (
        [*SHORT, "--env-wrapper", "gymnasium.wrappers:TimeLimi"], "env_wrapper", "did you mean 'TimeLimit'?",
    ),
    "wrapper that is none": ([*SHORT, "--env-wrapper", "gymnasium:Env"], "env_wrapper", "no gymnasium.Wrapper"),
    "wrapper of a module that nobody imported": ([*SHORT, "--env-wrapper", "os:system"], "env_wrapper", "--import os"),
    "malformed wrapper": ([*SHORT, "--env-wrapper", "a b"], "env_wrapper", "malformed"),
    "code in a wrapper": (
        [*SHORT, "--env-wrapper", "gymnasium.wrappers:TimeLimit(a=exit())"], "env_wrapper", "cannot read",
    ),
    "wrapper without its argument": (
        [*SHORT, "--env-wrapper", "gymnasium.wrappers:TimeLimit"], "env_wrapper", "max_episode",
    ),
    "normalize that is no dict": ([*SHORT, "--normalize", "3"], "normalize", "malformed"),
    "normalize discrete observations": (
        ["--algo", "q_table", "--env", "sb3_course/GridWorld-v0", "--normalize"], "normalize", "cannot be made",
    ),
    "wrong action space": ([*SHORT, "--env", "Pendulum-v1"], "env", "'Box'"),
    "wrong action space, the other way": (
        ["--algo", "sac", "-n", "20000", "--env", "CartPole-v1"], "env", "'Discrete'",
    ),
    "table for real numbers": (["--algo", "q_table", "--env", "CartPole-v1"], "observation_space", "Discrete"),
    "finished run": ([*SHORT, "--run-dir", "finished"], "run folder", "already holds a run (finished)"),
    "unfinished run": ([*SHORT, "--run-dir", "begun"], "run folder", "already holds a run (running)"),
    "folder with other files": ([*SHORT, "--run-dir", "no_run"], "run folder", "no run"),
    "other files are not overwritten": ([*SHORT, "--run-dir", "no_run", "--overwrite"], "run folder", "no run"),
    "run folder is a file": ([*SHORT, "--run-dir", "file"], "run folder", "not a folder"),
    "log folder below a file": ([*SHORT, "-f", "file/logs"], "log folder", "cannot be written"),
    "two places": ([*SHORT, "-f", "logs", "--run-dir", "run"], "--run-dir", "--log-folder"),
    "overwrite without a place": ([*SHORT, "--overwrite"], "--overwrite", "--run-dir"),
    "tracked without the package": ([*SHORT, "--track"], "--track", "-m pip install wandb"),
    "a flag of --track without it": ([*SHORT, "--wandb-entity", "us"], "--wandb-entity", "--track"),
    "seeds that are tracked": ([*SHORT, "--seeds", "2", "--track"], "--track", "--seeds"),
    "no seeds": ([*SHORT, "--seeds", "0"], "--seeds", "out of bounds"),
    "half a seed": ([*SHORT, "--seeds", "1.5"], "--seeds", "not an integer"),
    "seeds that collide": ([*SHORT, "--seeds", "3", "4", "3"], "--seeds", "collide"),
    "seeds below zero": ([*SHORT, "--seeds", "1", "-2"], "--seeds", "'-2'"),
    "seeds beyond the last": ([*SHORT, "--seed", "2147483647", "--seeds", "2"], "--seeds", "largest"),
    "a list of seeds and a first one": ([*SHORT, "--seed", "1", "--seeds", "3", "4"], "--seed", "list"),
    "no workers": ([*SHORT, "--seeds", "2", "--workers", "0"], "--workers", "out of bounds"),
    "workers for one run": ([*SHORT, "--workers", "2"], "--workers", "--seeds"),
    "threshold for one run": ([*SHORT, "--threshold", "9"], "--threshold", "--seeds"),
    "threshold that is no number": ([*SHORT, "--seeds", "2", "--threshold", "high"], "--threshold", "'high'"),
    "seeds overwritten": ([*SHORT, "--seeds", "2", "--overwrite"], "--overwrite", "--seeds"),
    "seeds of other settings": ([*SHORT, "--seeds", "2", "--run-dir", "many"], "--run-dir", "another"),
    "seeds into another folder": ([*SHORT, "--seeds", "2", "--run-dir", "no_run"], "run folder", "no run"),
    "seeds into a file": ([*SHORT, "--seeds", "2", "--run-dir", "file"], "run folder", "not a folder"),
    "resume damaged seeds": (["--resume", "damaged_many"], "--resume", "seeds.json"),
    "resume with other seeds": (["--resume", "begun", "--seeds", "3"], "--seeds", "--resume"),
    "resume seeds with another budget": (["--resume", "damaged_many", "-n", "3"], "--n-timesteps", "--resume"),
    "resume nothing": (["--resume", "absent"], "--resume", "no such folder"),
    "resume no run": (["--resume", "no_run"], "--resume", "no run"),
    "resume a finished run": (["--resume", "finished"], "--resume", "finished"),
    "resume without a checkpoint": (["--resume", "begun"], "--resume", "no checkpoint"),
    "resume a damaged checkpoint": (["--resume", "damaged"], "state.npz", "cannot be read"),
    "resume with another seed": (["--resume", "begun", "--seed", "3"], "--seed", "--resume"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("argv", "field", "word"), CASES.values(), ids=CASES.keys())
def test_one_line_status_2_and_nothing_written(
    place: Path, capfd: pytest.CaptureFixture[str], argv: list[str], field: str, word: str
) -> None:
    before = tree(place)
    status = main(argv)
    out, err = capfd.readouterr()
    assert status == 2
    assert re.fullmatch(rf"error: {re.escape(field)}[\w./]*: .+\n", err), err
    assert word in err
    assert out == ""
    assert tree(place) == before


@pytest.mark.parametrize("name", ["unknown flag", "finished run"])
def test_the_same_from_a_shell(place: Path, project_root: Path, name: str) -> None:
    argv, field, word = CASES[name]
    before = tree(place)
    done = subprocess.run(
        [sys.executable, "-m", "sb3_course.train", *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {field}: ")
    assert word in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree(place) == before


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 35
