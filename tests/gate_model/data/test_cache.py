"""The key of a cached file."""

from gate_model.data import cache


def test_cache_key_depends_on_every_part() -> None:
    assert cache.key_of("a", 1) != cache.key_of("a", 2)
