"""What is chosen before the demo begins: by the options and, for everything that chance decides, by the seed.

All of it is drawn here, in one go, so that one seed gives one plan, however the threads run afterwards. Times are seconds
at speed 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

GROUP = "demo"
BEFORE, TARGET = "1.0", "2.0"
ARRIVAL_GAP = (0.2, 0.8)
"""Between the arrivals of two updates."""
BOOT_TIME = (1.2, 2.2)
DRAIN_TIME = 0.5
DWELL = 1.0
DEADLINE = 1.5
DEAD_TIME = 1.5
"""From the death of an agent to its next start."""
SICK_TIME = 4.0
"""From a host's failure to its repair."""
AWAY_TIME = 4.0
MARGIN = (120.0, 10.0)
"""A demo may take so many seconds of real time, and so many times what it should take: it must end on any machine."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. `patience` in seconds of real time, None: generous."""

    nodes: int = 12
    slots: int = 2
    sick: int = 1
    seed: int = 1
    speed: float = 1.0
    patience: float | None = None

    def real(self, seconds: float) -> float:
        """Seconds of real time for seconds at speed 1."""
        return seconds / self.speed

    def limit(self) -> float:
        """Seconds of real time after which the demo gives up."""
        if self.patience is not None:
            return self.patience
        cycle = DRAIN_TIME + BOOT_TIME[1] + DWELL + 1.0
        expected = self.nodes / self.slots * cycle + self.sick * (SICK_TIME + cycle) + AWAY_TIME + DEAD_TIME
        return MARGIN[0] + MARGIN[1] * self.real(expected)


@dataclass(frozen=True, slots=True)
class Fate:
    """What will happen to one host. `boot_time` in seconds at speed 1."""

    boot_time: float
    dies_armed: bool = False
    comes_back_sick: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The fates, and when updates arrive: the second wave is counted from the end of the first drama."""

    fates: Mapping[str, Fate]
    first_wave: tuple[tuple[float, str], ...]
    second_wave: tuple[tuple[float, str], ...]


def draw(settings: Settings) -> Plan:
    """The plan of these settings. The host whose agent dies is in the first wave, the sick ones lead the second."""
    random = Random(settings.seed)  # noqa: S311 - chance that can be repeated is the point
    digits = max(2, len(str(settings.nodes)))
    names = [f"n{number:0{digits}}" for number in range(1, settings.nodes + 1)]
    order = random.sample(names, len(names))
    first = min(math.ceil(settings.nodes / 2), settings.nodes - settings.sick)
    dies = order[min(1, first - 1)]
    sick = order[first : first + settings.sick]
    fates = {
        name: Fate(random.uniform(*BOOT_TIME), dies_armed=name == dies, comes_back_sick=name in sick) for name in names
    }
    return Plan(fates, _wave(random, order[:first]), _wave(random, order[first:]))


def _wave(random: Random, names: list[str]) -> tuple[tuple[float, str], ...]:
    at, wave = 0.0, []
    for name in names:
        at += random.uniform(*ARRIVAL_GAP)
        wave.append((at, name))
    return tuple(wave)
