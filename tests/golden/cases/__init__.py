"""The cases, one module for each of ``clgrad.ops`` or part of it; each has a list ``CASES``."""
