"""Networks: `network(x (B, *shape), c_noise (B,), y (B,) or None) -> (B, *shape)`, inputs of about unit variance.

c_noise is log(rho) / 4. y holds labels in [0, classes), or is None for the unconditional output. Each is built by
`Network(shape, classes, **options)` and keeps its resolved options in `.options`, which rebuild it.
"""
