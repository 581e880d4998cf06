from .fourier import (
    Blur as Blur,
    FourierMask as FourierMask,
    Magnitude as Magnitude,
)
from .matrices import (
    Function as Function,
    Matrix as Matrix,
    NonLinear as NonLinear,
)
from .operator import (
    SVD as SVD,
    LinearOperator as LinearOperator,
    Operator as Operator,
    TightFrame as TightFrame,
    check_linear as check_linear,
)
from .operator_files import (
    has_holes as has_holes,
    is_array_file as is_array_file,
    read_array as read_array,
    read_mask as read_mask,
)
from .operator_units import (
    Decoded as Decoded,
    in_model_units as in_model_units,
    leave_out_holes as leave_out_holes,
    measurement_from_array as measurement_from_array,
)
from .pixels import (
    Average as Average,
    Grayscale as Grayscale,
    Identity as Identity,
    Mask as Mask,
)
from .tomography import (
    Radon as Radon,
)
