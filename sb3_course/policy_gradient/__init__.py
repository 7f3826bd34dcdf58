"""The policy-gradient family: one loss, and three choices that make VPG, REINFORCE and actor-critics of it."""

# Importing SB3 registers our policies with it, which imports modules of this package: SB3 first, then any of them.
import stable_baselines3 as stable_baselines3
