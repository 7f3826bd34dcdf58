"""The value family: one engine of independent choices, and a table of what each named algorithm switches on."""
