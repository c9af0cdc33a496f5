"""Kernel generation: expressions, templates, programs, launches, and the planners above them."""
