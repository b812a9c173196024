"""The schema registry: two plain GETs, and look-ups that go on until they are answered."""
