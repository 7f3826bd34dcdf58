"""Loops that Numba compiles: what NumPy says in ten passes they do in one. `sb3_course.backends.twins` lists them."""
