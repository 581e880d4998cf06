"""Networks: `network(x (B, *shape), c_noise (B,), y or None) -> (B, *shape)`, inputs of about unit variance.

c_noise is log(rho) / 4. y holds labels (B,) in [0, classes), or is None for the unconditional output; a row of -1 is
unconditional too. Each is built by `Network(shape, classes, **options)` and keeps its resolved options in `.options`,
which rebuild it. One with an option `conditions` takes so many numbers, (B, conditions), instead of labels, and rows
of NaN for none.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
