"""A run that meets what nothing can be learned from leaves the last good state behind, and goes on from it."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_course.runs import Settings, execute
from sb3_course.runs.checkpoint import newest_checkpoint
from sb3_course.runs.folder import RunFolder


class Spoiled(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole, whose 200th reward or observation is none."""

    def __init__(self, env: gym.Env[Any, Any], what: str) -> None:
        super().__init__(env)
        self.what, self.left = what, 200

    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        self.left -= 1
        if self.left == 0 and self.what == "reward":
            reward = float("nan")
        if self.left == 0 and self.what == "observation":
            observation = np.full(4, np.inf, np.float32)
        return observation, reward, *rest


@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("algo", ["double_dqn", "dqn", "ppo", "actor_critic"])
def test_the_last_good_state_is_kept(tmp_path: Path, algo: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_course.config.named_classes._plugins", [__name__])  # as `--import` does
    wrapper = [{f"{__name__}:Spoiled": {"what": what}}]
    settings = Settings.resolve(
        algo, "CartPole-v1", {"env_wrapper": wrapper, "n_timesteps": 1000, "save_freq": 0, "eval_freq": 0, "n_envs": 1}
    )
    with pytest.raises(FloatingPointError, match=rf"^{what}: not finite at step 200 of env 0 \(got (nan|inf)\)"):
        execute(settings, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    status = json.loads((folder.path / "status.json").read_text())
    assert (status["state"], status["timesteps"]) == ("failed", 200)
    assert newest_checkpoint(folder).timesteps == 200
