"""``clgrad bench``: how near a device's own limits clgrad comes on it."""
