"""rl-baselines3-zoo's own commands with our algorithms, from training to the plot, and what they refuse."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml

from sb3_course.tuning.spaces import SPACES
from sb3_course.tuning.zoo_entries import converted, enter_algorithms, sampled
from sb3_course.zoo import COMMANDS, main, with_preset

SHORT = ["-n", "300", "--eval-freq", "100", "--eval-episodes", "2", "--seed", "1", "--num-threads", "1"]
SHORT += ["-params", "policy_kwargs:dict(net_arch=[16])"]


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.mark.filterwarnings("ignore:total_timesteps")
@pytest.mark.parametrize("algo", ["rainbow", "reinforce"])
def test_from_training_to_the_plot(algo: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    what, study = ["--algo", algo, "--env", "CartPole-v1"], ["--storage", "sqlite:///s.db", "--study-name", algo]
    assert main(["train", *what, *SHORT, "-f", "logs"]) == 0
    run = tmp_path / "logs" / algo / "CartPole-v1_1"
    assert (run / "CartPole-v1.zip").is_file()
    assert np.load(run / "evaluations.npz")["timesteps"].tolist() == [100, 200, 300]
    capfd.readouterr()

    assert main(["enjoy", *what, "-f", "logs", "--no-render", "-n", "600"]) == 0
    assert re.search(r"Mean reward: \d", capfd.readouterr().out)

    trials = ["-optimize", "--n-trials", "3", "--n-evaluations", "1", "--no-optim-plots", *study]
    assert main(["train", *what, *SHORT, *trials, "-f", "tuned"]) == 0
    stored = optuna.load_study(study_name=algo, storage="sqlite:///s.db").trials
    assert [trial.state.name for trial in stored] == ["COMPLETE"] * 3
    assert {*stored[1].params} <= {each.name for each in SPACES[algo]}

    assert main(["train", *what, *SHORT[:-2], *study, "--trial-id", "1", "-f", "best"]) == 0
    config = (tmp_path / "best" / algo / "CartPole-v1_1" / "CartPole-v1" / "config.yml").read_text()
    saved = dict(yaml.unsafe_load(config))
    assert saved["gamma"] == stored[1].params["gamma"]
    assert str(saved["policy_kwargs"]["net_arch"]) == stored[1].params["policy_kwargs.net_arch"]

    assert main(["plot_train", "-a", algo, "-e", "CartPole-v1", "-f", "logs"]) == 0
    plot = ["-e", "CartPole-v1", "-f", "logs", "-o", "out", "--no-million", "--no-display"]
    assert main(["all_plots", "-a", algo, *plot]) == 0
    assert (tmp_path / "out.pkl").is_file()


@pytest.mark.parametrize("algo", ["rainbow", "reinforce", "numpy_dqn", "a3c", "crossq"])
@pytest.mark.parametrize("n_actions", [0, 2])
def test_what_a_trial_trains_is_what_its_stored_values_say(algo: str, n_actions: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=n_actions))
    for _ in range(5):
        trial = study.ask()
        drawn, again = sampled(algo, trial, n_actions, 1, {}), converted(algo, trial.params)
        rate, word = drawn.pop("learning_rate"), again.pop("learning_rate")
        assert drawn == again
        start = float(str(word).removeprefix("lin_"))  # rl_zoo3 makes `lin_0.01` a schedule
        assert (rate(1.0) if callable(rate) else rate) == start == trial.params["learning_rate"]
        assert callable(rate) == str(word).startswith("lin_")
        assert ("policy" in trial.params) <= (n_actions > 0)  # a Gaussian only for continuous actions
        assert not {"n_envs", "noise_type"} & {*trial.params}  # the zoo's own to decide


def test_every_algorithm_of_ours_is_known_with_its_space_and_the_zoo_s_own_stay() -> None:
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER, sample_dqn_params
    from rl_zoo3.utils import ALGOS
    from stable_baselines3 import DQN

    from sb3_course.registry import ALGORITHMS

    enter_algorithms()
    assert {*ALGORITHMS} <= {*ALGOS}
    assert {*SPACES} <= {*HYPERPARAMS_SAMPLER} == {*HYPERPARAMS_CONVERTER}
    assert ALGOS["dqn"] is DQN
    assert HYPERPARAMS_SAMPLER["dqn"] is sample_dqn_params


def test_our_preset_is_the_config_where_the_zoo_has_none(project_root: Path) -> None:
    preset = str(project_root / "sb3_course" / "presets" / "rainbow.yml")
    assert with_preset("train", ["--algo", "rainbow"]) == ["--algo", "rainbow", "--conf-file", preset]
    assert with_preset("train", ["--algo=rainbow"])[1:] == ["--conf-file", preset]
    for own in (["--algo", "dqn"], ["--algo", "rainbow", "-conf", "mine.yml"], []):
        assert with_preset("train", own) == own
    assert with_preset("enjoy", ["--algo", "rainbow"]) == ["--algo", "rainbow"]


REFUSED = {
    "unknown command": (["trian"], "command", "did you mean 'train'?"),
    "unknown algorithm": (["train", "--algo", "rainbo"], "--algo", "rainbow"),
    "unknown environment": (["train", "--algo", "rainbow", "--env", "CartPole-v9"], "command line", "CartPole-v1"),
    "missing file": (["train", "--algo", "rainbow", "-conf", "absent.yml"], "--conf-file", "absent.yml"),
    "missing agent": (["train", "--algo", "rainbow", "-i", "absent.zip"], "--trained-agent", "absent.zip"),
    "unknown flag": (["train", "--sed", "1"], "command line", "--sed"),
    "word for a number": (["train", "-n", "many"], "--n-timesteps", "many"),
}


@pytest.mark.parametrize(("argv", "field", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_line_and_nothing_written(
    argv: list[str], field: str, word: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    err = capfd.readouterr().err
    assert re.fullmatch(rf"error: {re.escape(field)}: .+\n", err), err
    assert word in err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train"]) == 2
    assert f"{sys.executable} -m pip install" in capfd.readouterr().err


def test_no_other_door_imports_rl_zoo3(project_root: Path) -> None:
    doors = "import sys, sb3_course.train, sb3_course.tune, sb3_course.zoo, sb3_course.runs.training, sb3_course.tuning"
    code = f"{doors}; from sb3_course import Rainbow; print('rl_zoo3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project_root)
    assert done.stdout == "False\n"


def test_help_lists_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capfd.readouterr().out
    assert all(command in told for command in COMMANDS)


def test_a_refusal_of_ours_inside_the_zoo_is_a_refusal(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["train", "--algo", "rainbow", "--env", "CartPole-v1", "-params", "gamma:2", "-f", "logs"]
    assert main(words) == 2
    assert re.search(r"^error: gamma: .*\n\Z", capfd.readouterr().err, re.MULTILINE)
