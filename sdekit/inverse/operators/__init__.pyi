from .fourier import (
    Blur as Blur,
    FourierMask as FourierMask,
    Magnitude as Magnitude,
    blur as blur,
    fourier_mask as fourier_mask,
    hartley as hartley,
    phase as phase,
    sides as sides,
)
from .matrices import (
    Function as Function,
    Matrix as Matrix,
    NonLinear as NonLinear,
    matrix as matrix,
)
from .operator import (
    DENSE as DENSE,
    SVD as SVD,
    LinearOperator as LinearOperator,
    Operator as Operator,
    TightFrame as TightFrame,
    check_linear as check_linear,
)
from .operator_files import (
    read_array as read_array,
    read_mask as read_mask,
)
from .operator_units import (
    Scaled as Scaled,
    in_model_units as in_model_units,
    measured_from as measured_from,
)
from .pixels import (
    LUMA as LUMA,
    Average as Average,
    Grayscale as Grayscale,
    Identity as Identity,
    Mask as Mask,
    grayscale as grayscale,
    identity as identity,
    mask as mask,
    super_resolution as super_resolution,
)
from .tomography import (
    Radon as Radon,
    radon as radon,
)
