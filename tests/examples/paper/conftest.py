"""The molecules that the tests of `gate_model` have."""

from tests.gate_model.conftest import dsbp_table, small_data

__all__ = ["dsbp_table", "small_data"]
