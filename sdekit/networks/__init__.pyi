from .classifier_encoder import (
    Encoder as Encoder,
)
from .embedding import (
    Condition as Condition,
    Frequencies as Frequencies,
    NoiseEmbedding as NoiseEmbedding,
    Numbers as Numbers,
)
from .mixer import (
    CHANNELS as CHANNELS,
    MOST_PIXELS as MOST_PIXELS,
    RADIUS as RADIUS,
    Mixer as Mixer,
)
from .mlp import (
    MLP as MLP,
    Block as Block,
)
from .unet import (
    DENSE_CHANNELS as DENSE_CHANNELS,
    DENSE_WIDTH as DENSE_WIDTH,
    ConvBlock as ConvBlock,
    UNet as UNet,
    levels as levels,
    norm as norm,
)
