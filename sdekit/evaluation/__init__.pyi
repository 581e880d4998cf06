from .evaluation_pictures import (
    comparison_picture as comparison_picture,
    nearest_picture as nearest_picture,
)
from .evaluation_result import (
    Difference as Difference,
    Evaluation as Evaluation,
    Memorization as Memorization,
    MetricRow as MetricRow,
    NearPair as NearPair,
)
from .feature_extraction import (
    Extractor as Extractor,
    as_extractor as as_extractor,
    extract_features as extract_features,
)
from .memorization import (
    check_memorization as check_memorization,
)
from .metric_rows import (
    centered_rows as centered_rows,
)
from .model_evaluation import (
    MOST_TRAINING as MOST_TRAINING,
    decoded as decoded,
    evaluate_model as evaluate_model,
)
from .random_halves import (
    interval as interval,
    standard_error as standard_error,
    wilson as wilson,
)
from .real_data import (
    RealData as RealData,
)
from .sample_evaluation import (
    DEFAULT_METRICS as DEFAULT_METRICS,
    evaluate as evaluate,
)
from .solver_error import (
    Measurement as Measurement,
    Statistic as Statistic,
    as_report as as_report,
    average_error as average_error,
    best_by_budget as best_by_budget,
    exact_solution as exact_solution,
    measure_errors as measure_errors,
    plot_errors as plot_errors,
    recommended_pair as recommended_pair,
    ring_mixture as ring_mixture,
    sampler_grid_pairs as sampler_grid_pairs,
)
from .traits import (
    MetricTraits as MetricTraits,
    metric_traits as metric_traits,
    traits_of as traits_of,
)
