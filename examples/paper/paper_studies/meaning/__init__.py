"""Does λ mean anything? Its stability over seeds, the measured gain of a source, and chemistry."""
