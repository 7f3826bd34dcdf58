"""What touches Stable-Baselines3: the mixin in front of its algorithms, construction, VecEnvs, callbacks, policies."""
