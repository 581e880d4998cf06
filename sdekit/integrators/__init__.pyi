from .adaptive import (
    METHODS as METHODS,
    Field as Field,
    ToleranceError as ToleranceError,
    solve_adaptive as solve_adaptive,
)
from .multistep import (
    IntegralForm as IntegralForm,
    Multistep as Multistep,
    MultistepCoefficients as MultistepCoefficients,
    Start as Start,
    Variable as Variable,
    adams_bashforth as adams_bashforth,
    check_start as check_start,
    data_prediction as data_prediction,
    first_step_corrector as first_step_corrector,
    grid_rho as grid_rho,
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
    Stage as Stage,
    ddim_weight as ddim_weight,
    tableau_stages as tableau_stages,
)
from .sde_multistep import (
    NoiseScaling as NoiseScaling,
    PowerNoiseScaling as PowerNoiseScaling,
    check_eta as check_eta,
    exponential_step as exponential_step,
    sde_multistep_coefficients as sde_multistep_coefficients,
)
