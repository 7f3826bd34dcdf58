"""What a server of worker processes does once, so that none of those forked from it has to: import, load, compile."""

import study_worker  # noqa: F401 - what is imported here need not be again

from sb3_course import ActorCritic

for backend in ("numpy", "torch"):
    ActorCritic("MlpPolicy", "CartPole-v1", n_steps=5, backend=backend, seed=0, device="cpu").learn(10)
