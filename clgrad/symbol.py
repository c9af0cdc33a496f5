"""Recorded history as a Symbol."""
def from_entry(entry): raise NotImplementedError
