"""Input that nobody should hand over, and what becomes of it."""
