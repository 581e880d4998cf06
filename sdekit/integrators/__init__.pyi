from .adaptive import (
    FASTEST as FASTEST,
    MAX_STEPS as MAX_STEPS,
    METHODS as METHODS,
    SAFETY as SAFETY,
    SLOWEST as SLOWEST,
    Field as Field,
    ToleranceError as ToleranceError,
    solve_adaptive as solve_adaptive,
)
from .multistep import (
    LEAP as LEAP,
    IntegralForm as IntegralForm,
    Multistep as Multistep,
    MultistepCoefficients as MultistepCoefficients,
    Start as Start,
    Variable as Variable,
    adams_bashforth as adams_bashforth,
    add_weighted as add_weighted,
    check_start as check_start,
    data_prediction as data_prediction,
    first_step_corrector as first_step_corrector,
    nodes as nodes,
    noise_prediction as noise_prediction,
    polynomial_weights as polynomial_weights,
)
from .one_step import (
    Coefficients as Coefficients,
    OneStep as OneStep,
)
from .runge_kutta import (
    RungeKutta as RungeKutta,
)
from .sde_multistep import (
    LARGEST_ETA as LARGEST_ETA,
    NoiseScaling as NoiseScaling,
    PowerNoiseScaling as PowerNoiseScaling,
    StochasticCoefficients as StochasticCoefficients,
    check_eta as check_eta,
    exponential_step as exponential_step,
    sde_multistep_coefficients as sde_multistep_coefficients,
)
