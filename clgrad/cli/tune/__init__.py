"""``clgrad tune``: the search for a device's parameters."""
