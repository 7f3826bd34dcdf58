"""The value family: one learner, and a table of what each named algorithm switches on."""
