from .tuned import (
    Blend as Blend,
    Tuned as Tuned,
    find_tuned as find_tuned,
    find_tuned_for as find_tuned_for,
    save_tuned as save_tuned,
    weights_digest as weights_digest,
)
from .tuner import (
    Starts as Starts,
    check_tunable as check_tunable,
    solve_starts as solve_starts,
    tune as tune,
)
