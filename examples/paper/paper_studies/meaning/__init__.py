"""Does λ mean anything? Its stability over seeds, and its agreement with measured gains and with chemistry."""
