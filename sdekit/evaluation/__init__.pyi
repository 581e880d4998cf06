from .solver_error import (
    Measurement as Measurement,
    as_report as as_report,
    best_by_budget as best_by_budget,
    exact_solution as exact_solution,
    measure_errors as measure_errors,
    plot_errors as plot_errors,
    recommended_pair as recommended_pair,
    ring_mixture as ring_mixture,
    sampler_grid_pairs as sampler_grid_pairs,
)
