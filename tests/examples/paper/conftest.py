"""The molecules that the tests of `gate_model` have."""

from tests.gate.conftest import dsbp_table, small_data

__all__ = ["dsbp_table", "small_data"]
