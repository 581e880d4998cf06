"""Networks: `network(x (B, *shape), c_noise (B,), y) -> (B, *shape)`, for inputs x of about unit variance.

c_noise is log(rho) / 4. y is a condition of B samples (see `sdekit.models.Condition`) or None. With y=None, and in rows
of the null condition, the output is the unconditional one. A network is built by `Network(shape, classes, **options)`
and keeps its resolved options in `.options`, which rebuild it. To take conditions other than labels a network needs the
options that are named in its documentation: `conditions` for numbers, `embedding_size`, `sequence` and `augmentation`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
