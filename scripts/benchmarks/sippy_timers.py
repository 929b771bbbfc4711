"""How late sippy's timers fire, measured by a program that is written for sippy: ``sippy_timers.py COUNT SECONDS``.

Sets timers for moments spread evenly over the seconds, and prints how long after its moment each was called, in
milliseconds: the mean and the worst, as JSON.
"""

from __future__ import annotations

import json
import random
import statistics
import sys

from sippy.Core.EventDispatcher import ED2
from sippy.Time.MonoTime import MonoTime
from sippy.Time.Timeout import TimeoutAbsMono


def main(count: int, seconds: float) -> None:
    """Run the loop until the last timer fired."""
    late: list[float] = []

    def fired(due: MonoTime) -> None:
        late.append(MonoTime() - due)
        if len(late) == count:
            ED2.breakLoop()

    start = MonoTime()
    for number in range(count):
        due = start.getOffsetCopy(0.5 + (number + random.random()) * seconds / count)
        TimeoutAbsMono(fired, due, due)
    ED2.loop()
    print(json.dumps({'mean': statistics.fmean(late) * 1e3, 'max': max(late) * 1e3}))


if __name__ == '__main__':
    main(int(sys.argv[1]), float(sys.argv[2]))
