"""Kernel generation: expressions, templates, programs, launches, and the planners above them.

docs/architecture.md has the layers, from the bottom up.
"""
