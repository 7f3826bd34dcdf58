"""The value family: one learner, and a table of what each named algorithm switches on."""

# Importing SB3 registers our policies with it, which imports modules of this package: SB3 first, then any of them.
import stable_baselines3 as stable_baselines3
