"""Whatever is wrong with what `tune`, `compare`, `enjoy` and `inspect` are given: one line, status 2, nothing written.

The table of `train` is `test_bad_input.py`; damaged models have one of their own, `chaos/test_tampered.py`.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sb3_course import compare, enjoy, inspect, train, tune

SHORT = [
    "-n", "64", "--trials", "1", "--seeds", "2", "--eval-freq", "16", "--storage", "studies.db", "--log-folder", "logs",
]  # fmt: skip
SHOT = ["--env", "sb3_course/OneShot-v0"]
TUNE = ["--algo", "reinforce", *SHOT, *SHORT]
COMPARE = ["--algos", "reinforce", "vpg", *SHOT, "--fresh-seeds", "2", *SHORT]
MAIN: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "tune": (tune.main, TUNE), "compare": (compare.main, COMPARE), "enjoy": (enjoy.main, []),
    "inspect": (inspect.main, []),
}  # fmt: skip
FILES = {
    "text.txt": b"mine\n",
    "empty.zip": b"",
    "empty.npz": b"",
    "cut.zip": b"PK\x03\x04 and no more",
    "cut.npz": b"PK\x03\x04 and no more",
    "bare.zip": b"PK\x05\x06" + 18 * b"\0",
    "no_run/notes.txt": b"mine\n",
    "begun/config.yaml": b"algo: reinforce\nenv: sb3_course/OneShot-v0\nn_timesteps: 64\n",
    "odd/config.yaml": b"algo: reinforce\nenv: sb3_course/OneShot-v0\nn_timesteps: many\n",
    "odd/model.zip": b"",
    "list.yaml": b"- gamma\n",
    "torn.yaml": b"gamma: [0.9\n",
    "twice.yaml": b"gamma: 0.9\ngamma: 0.8\n",
    "code.yaml": b"gamma: !!python/object/apply:os.system ['touch pwned']\n",
    "bytes.yaml": b"gamma: \xff\xfe\n",
}

# What every study is asked: what is typed, the field that the line has to name, and a word that it has to hold.
STUDY = {
    "unknown flag": (["--trails", "4"], "--trails", "did you mean '--trials'"),
    "abbreviated flag": (["--trial", "4"], "--trial", "unknown flag"),
    "flag without its value": (["--trials"], "--trials", "expected one argument"),
    "a word too many": (["-P", "rainbow"], "command line", "'rainbow'"),
    "unknown env": (["--env", "CartPole-v7"], "env", "no environment"),
    "empty env": (["--env", ""], "env", "got ''"),
    "env of a missing module": (["--env", "no_such_module:Env-v0"], "env", "--import no_such_module"),
    "no steps": (["-n", "0"], "--n-timesteps", "out of bounds"),
    "steps in words": (["-n", "many"], "--n-timesteps", "'many'"),
    "half a step": (["-n", "64.5"], "--n-timesteps", "'64.5'"),
    "endless steps": (["-n", "inf"], "--n-timesteps", "'inf'"),
    "more steps than can be": (["-n", "1e12"], "--n-timesteps", "out of bounds"),
    "unknown hyperparameter": (["-params", "gama:0.9"], "-params", "did you mean 'gamma'"),
    "a hyperparameter of others": (["-params", "n_atoms:51"], "n_atoms", "no such hyperparameter"),
    "a hyperparameter out of bounds": (["-params", "gamma:1.5"], "gamma", "1.5"),
    "a hyperparameter in words": (["-params", "gamma:high"], "gamma", "'high'"),
    "code as a hyperparameter": (["-params", "gamma:exit()"], "gamma", "cannot read"),
    "a hyperparameter twice": (["-params", "gamma:0.9", "gamma:0.8"], "-params", "twice"),
    "a run key": (["-params", "n_timesteps:5"], "-params", "--n-timesteps"),
    "no pair": (["-params", "gamma"], "-params", "malformed pair"),
    "unknown env argument": (["--env-kwargs", "colour:1"], "env_kwargs", "colour"),
    "no pair for the env": (["--env-kwargs", "tau"], "--env-kwargs", "malformed pair"),
    "no JSON for the env": (["--env-kwargs", "tau:nn.ReLU"], "env_kwargs", "JSON"),
    "no pair for evaluations": (["--eval-env-kwargs", "tau"], "--eval-env-kwargs", "malformed pair"),
    "unknown argument of evaluations": (["--eval-env-kwargs", "colour:1"], "eval_env_kwargs", "colour"),
    "a wrapper that is none": (["--env-wrapper", "gymnasium:Env"], "env_wrapper", "no gymnasium.Wrapper"),
    "a wrapper of a missing module": (["--env-wrapper", "no_such_module:W"], "env_wrapper", "no_such_module"),
    "a missing wrapper": (["--env-wrapper", "gymnasium.wrappers:TimeLimi"], "env_wrapper", "did you mean"),
    "a malformed wrapper": (["--env-wrapper", "a b"], "env_wrapper", "malformed"),
    "normalize that is no dict": (["--normalize", "3"], "normalize", "malformed"),
    "unknown key of normalize": (["--normalize", "dict(norm_ops=True)"], "normalize", "norm_obs"),
    "no frames": (["--frame-stack", "0"], "frame_stack", "out of bounds"),
    "frames in words": (["--frame-stack", "some"], "frame_stack", "'some'"),
    "unknown kind of envs": (["--vec-env", "thread"], "vec_env", "dummy or subproc"),
    "unknown device": (["--device", "gpu"], "device", "'gpu'"),
    "a device that is not there": (["--device", "cuda:99"], "device", "is not there"),
    "no threads": (["--num-threads", "0"], "num_threads", "is zero"),
    "half a thread": (["--num-threads", "1.5"], "num_threads", "not an integer"),
    "no evaluations": (["--eval-freq", "0"], "eval_freq", "no evaluation"),
    "evaluations after the end": (["--eval-freq", "100"], "eval_freq", "no evaluation"),
    "evaluations in words": (["--eval-freq", "often"], "--eval-freq", "'often'"),
    "evaluations before the start": (["--eval-freq", "-3"], "--eval-freq", "out of bounds"),
    "no episodes": (["--eval-episodes", "0"], "eval_episodes", "no such number"),
    "episodes in words": (["--eval-episodes", "few"], "--eval-episodes", "'few'"),
    "no final episodes": (["--final-episodes", "0"], "final_episodes", "no such number"),
    "final episodes in words": (["--final-episodes", "few"], "--final-episodes", "'few'"),
    "no evaluation envs": (["--n-eval-envs", "0"], "n_eval_envs", "out of bounds"),
    "evaluation envs in words": (["--n-eval-envs", "few"], "n_eval_envs", "'few'"),
    "no trials": (["--trials", "0"], "--trials", "out of bounds"),
    "half a trial": (["--trials", "2.5"], "--trials", "not an integer"),
    "trials in words": (["--trials", "many"], "--trials", "'many'"),
    "no seeds": (["--seeds", "0"], "--seeds", "out of bounds"),
    "half a seed": (["--seeds", "1.5"], "--seeds", "not an integer"),
    "a seed below zero": (["--seed", "-1"], "--seed", "'-1'"),
    "a seed in words": (["--seed", "x"], "--seed", "'x'"),
    "seeds beyond 32 bits": (["--seed", "2147483647"], "seeds", "out of bounds"),
    "unknown score": (["--score", "best"], "score", "'best'"),
    "unknown pruner": (["--pruner", "hyperband"], "pruner", "'hyperband'"),
    "too few seeds to prune": (["--pruner", "wilcoxon"], "pruner", "cannot prune"),
    "a missing module": (["--import", "no_such_module"], "--import", "no_such_module"),
    "no workers": (["--workers", "0"], "--workers", "out of bounds"),
    "half a worker": (["--workers", "1.5"], "--workers", "not an integer"),
    "unknown launcher": (["--launcher", "slurm"], "--launcher", "local or ray"),
    "an address without Ray": (["--ray-address", "auto"], "--ray-address", "--launcher ray"),
    "GPUs without Ray": (["--gpus", "1"], "--gpus", "--launcher ray"),
    "GPUs in words": (["--launcher", "ray", "--gpus", "all"], "--gpus", "'all'"),
    "GPUs below zero": (["--launcher", "ray", "--gpus", "-1"], "--gpus", "'-1'"),
    "a storage in a missing folder": (["--storage", "no/such/folder.db"], "--storage", "cannot be used"),
    "a storage that is no database": (["--storage", "text.txt"], "--storage", "not a database"),
    "a folder as storage": (["--storage", "no_run"], "--storage", "is a folder"),
    "a storage of an unknown kind": (["--storage", "oracle://nowhere"], "--storage", "cannot be used"),
    "an empty storage": (["--storage", ""], "--storage", "want"),
    "a storage and its variable": (["--storage-env", "URL"], "--storage-env", "one of the two"),
    "a wait below zero": (["--storage-wait", "-1"], "--storage-wait", "out of bounds"),
    "a wait in words": (["--storage-wait", "long"], "--storage-wait", "'long'"),
    "a name that is none": (["--study-name", ".."], "--study-name", "is no name"),
    "an empty name": (["--study-name", " "], "--study-name", "is no name"),
    "a file as folder": (["--log-folder", "text.txt"], "--log-folder", "is a file"),
    "a folder below a file": (["--log-folder", "text.txt/logs"], "--log-folder", "is a file"),
}  # fmt: skip
CASES = {
    "tune": {
        **STUDY,
        "unknown algorithm": (["--algo", "rainbw"], "algo", "did you mean 'rainbow'"),
        "empty algorithm": (["--algo", ""], "algo", "unknown algorithm"),
        "wrong actions": (["--algo", "dqn"], "env", "actions that dqn cannot choose"),
        "two environments": (["--env", "Acrobot-v1", "CartPole-v1"], "command line", "'CartPole-v1'"),
        "a flag of compare": (["--top", "2"], "--top", "unknown flag"),
    },
    "compare": {
        **STUDY,
        "one algorithm": (["--algos", "vpg"], "--algos", "two"),
        "an algorithm twice": (["--algos", "vpg", "vpg", "ppo"], "--algos", "twice"),
        "unknown algorithm": (["--algos", "vpg", "pppo"], "algo", "did you mean 'ppo'"),
        "wrong actions": (["--algos", "vpg", "dqn"], "env", "actions that dqn cannot choose"),
        "no algorithm": (["--algos"], "--algos", "at least one argument"),
        "an environment twice": (["--env", "Acrobot-v1", "Acrobot-v1"], "--env", "twice"),
        "one fresh seed": (["--fresh-seeds", "1"], "--fresh-seeds", "too small"),
        "fresh seeds in words": (["--fresh-seeds", "many"], "--fresh-seeds", "'many'"),
        "half a fresh seed": (["--fresh-seeds", "2.5"], "--fresh-seeds", "not an integer"),
        "no configuration": (["--top", "0"], "--top", "out of bounds"),
        "half a configuration": (["--top", "1.5"], "--top", "not an integer"),
        "unknown pairs": (["--pairs", "some"], "--pairs", "'some'"),
        "a threshold in words": (["--threshold", "high"], "--threshold", "not a number"),
        "a threshold that is NaN": (["--threshold", "nan"], "--threshold", "not finite"),
        "a threshold that is infinite": (["--threshold", "inf"], "--threshold", "not finite"),
        "a threshold of another env": (["--threshold", "Nowhere-v0:1"], "--threshold", "no environment of"),
        "a threshold twice": (["--threshold", "1", "2"], "--threshold", "given twice"),
        "a reference of no env": (["--reference", "0,1"], "--reference", "names no environment"),
        "a reference of one number": (["--reference", "sb3_course/OneShot-v0:0"], "--reference", "two numbers"),
        "a reference in words": (["--reference", "sb3_course/OneShot-v0:low,high"], "--reference", "two numbers"),
        "a reference for one env alone": (["--reference", "sb3_course/OneShot-v0:0,1"], "--reference", "more environ"),
        "a reference that is NaN": (
            ["--env", "sb3_course/OneShot-v0", "Pendulum-v1", "--reference", "Pendulum-v1:nan,1"], "--reference", "nan",
        ),
        "a reference upside down": (
            ["--env", "sb3_course/OneShot-v0", "Pendulum-v1", "--reference", "Pendulum-v1:1,0"], "--reference", "want",
        ),
        "a reference of another env": (["--reference", "Nowhere-v0:0,1"], "--reference", "want"),
        "a flag of tune": (["--algo", "vpg"], "--algo", "did you mean '--algos'"),
    },
    "enjoy": {
        "nothing": ([], "command line", "RUN_OR_MODEL"),
        "two runs": (["run", "run"], "command line", "'run'"),
        "unknown flag": (["run", "--episode", "1"], "--episode", "did you mean '--episodes'"),
        "flag without its value": (["run", "--seed"], "--seed", "expected one argument"),
        "missing run": (["absent"], "RUN_OR_MODEL", "no such file or folder"),
        "a folder that is no run": (["no_run"], "RUN_OR_MODEL", "no run"),
        "a file of no run": (["text.txt"], "RUN_OR_MODEL", "belongs to no run"),
        "a run without a model": (["begun"], "RUN_OR_MODEL", "has no model.zip"),
        "a run whose config is damaged": (["odd"], "n_timesteps", "'many'"),
        "a model that is text": (["run/text.zip"], "model", "want"),
        "a model that is empty": (["run/empty.zip"], "model", "want"),
        "a model cut short": (["run/cut.zip"], "model", "want"),
        "another file of the run": (["run/config.yaml"], "model", "want"),
        "no such best": (["run", "--best", "--load-last-checkpoint"], "--best", "cannot be combined"),
        "no such checkpoint": (["run", "--load-checkpoint", "7"], "--load-checkpoint", "no such checkpoint"),
        "a checkpoint in words": (["run", "--load-checkpoint", "last"], "--load-checkpoint", "no such checkpoint"),
        "a checkpoint and the last": (
            ["run", "--load-checkpoint", "32", "--load-last-checkpoint"], "--load-checkpoint", "cannot be combined",
        ),
        "a run without checkpoints": (["begun", "--load-last-checkpoint"], "--load-last-checkpoint", "no checkpoint"),
        "a missing module": (["run", "--import", "no_such_module"], "--import", "no_such_module"),
        "unknown env": (["run", "--env", "CartPole-v7"], "env", "no environment"),
        "empty env": (["run", "--env", ""], "env", "not a name"),
        "env of other actions": (["run", "--env", "CartPole-v1"], "--env", "other observations or actions"),
        "env of other observations": (["run", "--env", "Pendulum-v1"], "--env", "other observations"),
        "no pair for the env": (["run", "--env-kwargs", "tau"], "--env-kwargs", "malformed pair"),
        "unknown env argument": (["run", "--env-kwargs", "colour:1"], "env_kwargs", "colour"),
        "no JSON for the env": (["run", "--env-kwargs", "tau:nn.ReLU"], "env_kwargs", "JSON"),
        "unknown risk": (["run", "--risk", "cvarr:0.25"], "--risk", "did you mean 'cvar'"),
        "a risk out of bounds": (["run", "--risk", "cvar:2"], "--risk", "is wrong or missing"),
        "a risk without a distribution": (["run", "--risk", "cvar:0.25"], "--risk", "learns no distribution"),
        "no episodes": (["run", "--episodes", "0"], "--episodes", "'0'"),
        "half an episode": (["run", "--episodes", "1.5"], "--episodes", "'1.5'"),
        "episodes in words": (["run", "--episodes", "few"], "--episodes", "'few'"),
        "a seed below zero": (["run", "--seed", "-1"], "--seed", "'-1'"),
        "a seed in words": (["run", "--seed", "x"], "--seed", "'x'"),
        "a seed beyond 32 bits": (["run", "--seed", "99999999999"], "--seed", "'99999999999'"),
        "no threads": (["run", "--num-threads", "0"], "--num-threads", "'0'"),
        "threads in words": (["run", "--num-threads", "all"], "--num-threads", "'all'"),
        "more threads than can be": (["run", "--num-threads", "99999999999"], "--num-threads", "'99999999999'"),
        "unknown window": (["run", "--render", "ascii"], "--render", "'ascii'"),
        "a window and a picture": (["run", "--render", "human", "--gif", "a.gif"], "--render", "cannot be combined"),
        "a picture in a missing folder": (["run", "--gif", "no/such.gif"], "--gif", "no such folder"),
        "a picture of another format": (["run", "--gif", "a.png"], "--gif", "ends in .gif"),
        "a folder as picture": (["run", "--png", "no_run"], "--png", "cannot be written"),
        "a video below a file": (["run", "--mp4", "text.txt/a.mp4"], "--mp4", "no such folder"),
    },
    "inspect": {
        "nothing": ([], "command line", "FILE"),
        "unknown flag": (["run", "--deep"], "--deep", "unknown flag"),
        "missing file": (["absent"], "FILE", "No such file"),
        "missing file in a missing folder": (["no/such.zip"], "FILE", "No such file"),
        "a file below a file": (["text.txt/model.zip"], "FILE", "Not a directory"),
        "a folder that is no run": (["no_run"], "FILE", "no run"),
        "text": (["text.txt"], "FILE", "neither a model"),
        "an empty model": (["empty.zip"], "FILE", "want"),
        "an empty state": (["empty.npz"], "FILE", "want"),
        "a model cut short": (["cut.zip"], "FILE", "damaged"),
        "a state cut short": (["cut.npz"], "FILE", "damaged"),
        "an archive of nothing": (["bare.zip"], "", "want"),
        "a config that is a list": (["list.yaml"], "list.yaml", "mapping"),
        "a config cut short": (["torn.yaml"], "torn.yaml", "line"),
        "a config with a key twice": (["twice.yaml"], "twice.yaml", "duplicate key"),
        "a config with code": (["code.yaml"], "code.yaml", "python/object/apply"),
        "a config that is no text": (["bytes.yaml"], "bytes.yaml", "want"),
        "a missing config": (["absent.yaml"], "FILE", "No such file"),
    },
}  # fmt: skip
ROWS = [(door, name) for door, rows in CASES.items() for name in rows]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run and what is wrong."""
    folder = tmp_path_factory.mktemp("doors")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    words = ["--algo", "reinforce", *SHOT, "-n", "64", "--save-freq", "32", "--eval-freq", "0", "--final-episodes", "1"]
    assert train.main([*words, "--verbose", "0", "--run-dir", str(folder / "run")]) == 0
    for name in ("text.txt", "empty.zip", "cut.zip"):
        shutil.copy(folder / name, folder / "run" / Path(name).with_suffix(".zip"))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("door", "name"), ROWS, ids=[f"{door}: {name}" for door, name in ROWS])
def test_one_line_status_2_and_nothing_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], door: str, name: str
) -> None:
    argv, field, word = CASES[door][name]
    main, common = MAIN[door]
    monkeypatch.chdir(place)
    before = tree(place)
    capfd.readouterr()
    status = main([*common, *argv])
    out, err = capfd.readouterr()
    assert (status, out) == (2, ""), err
    assert re.fullmatch(rf"error: {re.escape(field)}[\w./ ]*: .+ \(.*want .+\)\n", err), err
    assert word in err
    assert tree(place) == before


def test_there_are_enough() -> None:
    assert len(ROWS) >= 240
