from .parametrization import (
    KNOTS as KNOTS,
    POINTS as POINTS,
    Parametrization as Parametrization,
)
from .tuned import (
    TUNED_FORMAT as TUNED_FORMAT,
    Blend as Blend,
    Tuned as Tuned,
    find_tuned as find_tuned,
    save_tuned as save_tuned,
    times_at as times_at,
    weights_digest as weights_digest,
)
from .tuner import (
    CHANCE as CHANCE,
    FEW as FEW,
    ITERATIONS as ITERATIONS,
    MEMORY as MEMORY,
    PATIENCE as PATIENCE,
    Rule as Rule,
    Starts as Starts,
    Tick as Tick,
    check_tunable as check_tunable,
    solve_starts as solve_starts,
    tune as tune,
)
