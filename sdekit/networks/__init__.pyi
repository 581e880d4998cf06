from .classifier_encoder import (
    Encoder as Encoder,
)
from .embedding import (
    ConditionEmbedding as ConditionEmbedding,
    LinearBlock as LinearBlock,
    NoiseEmbedding as NoiseEmbedding,
    NumberEmbedding as NumberEmbedding,
    VectorEmbedding as VectorEmbedding,
)
from .mixer import (
    Mixer as Mixer,
)
from .mlp import (
    MLP as MLP,
)
from .unet import (
    ConvBlock as ConvBlock,
    UNet as UNet,
)
