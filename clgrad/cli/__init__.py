"""The ``clgrad`` command."""
