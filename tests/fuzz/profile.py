"""How much is tried: a small fixed set in `make test`, as much as is asked for in `make fuzz`.

The one idea a reader would miss: the small profile is the same in each run, so that a failure of CI is one that everybody
has; new examples are for `make fuzz`, and what it finds is kept as an explicit example beside the test.
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = "LOCKSMITH_FUZZ"
"""The variable with the number of examples of a test of usual weight."""
FEW = 40


def fuzz(weight: float = 1.0) -> settings:
    """Settings of a test; `weight` is how many examples it gets for one of the usual test."""
    asked = os.environ.get(EXAMPLES)
    return settings(
        max_examples=max(5, int((int(asked) if asked else FEW) * weight)),
        derandomize=not asked,
        database=None if not asked else settings.default.database,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
