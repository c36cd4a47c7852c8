"""Measure how long a training has taken so far."""

import time

__all__ = ["Stopwatch"]


class Stopwatch:
    """A stopwatch that adds up the seconds of all its runs."""

    def __init__(self) -> None:
        self._before, self._started = 0.0, 0.0
        self._running = False

    @property
    def seconds(self) -> float:
        """Seconds up to now."""
        return self._before + (time.perf_counter() - self._started if self._running else 0.0)

    def start(self) -> None:
        """Starts it; does nothing if it is running."""
        self.reset(self.seconds)
        self._running = True

    def stop(self) -> None:
        """Stops it until the next start."""
        self.reset(self.seconds)
        self._running = False

    def reset(self, seconds: float) -> None:
        """Continues from `seconds`, running or stopped as before."""
        self._before, self._started = seconds, time.perf_counter()
