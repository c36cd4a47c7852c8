"""How long a training has taken so far."""

import time

__all__ = ["Stopwatch"]


class Stopwatch:
    """Seconds over all the times that it ran."""

    def __init__(self) -> None:
        self._before, self._started = 0.0, 0.0
        self._running = False

    @property
    def seconds(self) -> float:
        """Up to now."""
        return self._before + (time.perf_counter() - self._started if self._running else 0.0)

    def start(self) -> None:
        """Run from now on; nothing changes where it runs already."""
        self.reset(self.seconds)
        self._running = True

    def stop(self) -> None:
        """Stand still until the next start."""
        self.reset(self.seconds)
        self._running = False

    def reset(self, seconds: float) -> None:
        """Go on from `seconds`, running or standing still as before."""
        self._before, self._started = seconds, time.perf_counter()
