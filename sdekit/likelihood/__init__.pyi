from .class_posterior import (
    Calibration as Calibration,
    class_probabilities as class_probabilities,
    cross_fitted_temperatures as cross_fitted_temperatures,
    fit_temperature as fit_temperature,
    measure_calibration as measure_calibration,
)
from .dequantization import (
    Dequantization as Dequantization,
    bin_width as bin_width,
    bits_per_dimension as bits_per_dimension,
    check_bins as check_bins,
    log_density_in_data_units as log_density_in_data_units,
)
from .flow_solver import (
    FlowSolver as FlowSolver,
)
from .generative_classifier import (
    ClassComparison as ClassComparison,
    compare_by_bound as compare_by_bound,
    compare_by_likelihood as compare_by_likelihood,
)
from .interpolation import (
    spherical_interpolation as spherical_interpolation,
)
from .intervals import (
    MeanInterval as MeanInterval,
    mean_interval as mean_interval,
    pooled_interval as pooled_interval,
    t_quantile as t_quantile,
)
from .probability_flow import (
    LogLikelihood as LogLikelihood,
    decode as decode,
    encode as encode,
    log_likelihood as log_likelihood,
)
from .roc_area import (
    RocArea as RocArea,
    auroc as auroc,
)
from .trace import (
    ExactTrace as ExactTrace,
    Hutchinson as Hutchinson,
    HutchPlusPlus as HutchPlusPlus,
    Trace as Trace,
    choose_trace as choose_trace,
)
from .typicality import (
    DenoisingStatistics as DenoisingStatistics,
    TypicalStatistics as TypicalStatistics,
    denoising_statistics as denoising_statistics,
    nearest_class as nearest_class,
)
from .variational_bound import (
    VariationalBound as VariationalBound,
    by_log_snr as by_log_snr,
    check_steps as check_steps,
    log_snr_ranges as log_snr_ranges,
    step_ranges as step_ranges,
    variational_bound as variational_bound,
)
