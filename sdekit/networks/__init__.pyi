from .classifier_encoder import (
    Encoder as Encoder,
)
from .conv_blocks import (
    BlockStyle as BlockStyle,
    ConvBlock as ConvBlock,
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
from .own_network import (
    OwnNetwork as OwnNetwork,
    import_own_network as import_own_network,
)
from .published_unets import (
    ADM as ADM,
    DDPMpp as DDPMpp,
    NCSNpp as NCSNpp,
)
from .unet import (
    UNet as UNet,
)
