import pluggy

from .distributions import GaussianMixture as GaussianMixture
from .errors import InputError as InputError, SdekitError as SdekitError
from .models import OpenedModel as OpenedModel, ScoreModel as ScoreModel, open_model as open_model
from .processes import (
    EDM as EDM,
    SDE as SDE,
    VE as VE,
    VP as VP,
    Cosine as Cosine,
    RectifiedFlow as RectifiedFlow,
    SubVP as SubVP,
    TabulatedVP as TabulatedVP,
)
from .runs import load_run as load_run
from .sampling import Sampler as Sampler, Samples as Samples, SeedNoise as SeedNoise, sample as sample
from .training import train as train

__version__: str
API_VERSION: int
hookimpl: pluggy.HookimplMarker
