from .confusion import (
    confusion_matrix as confusion_matrix,
)
from .figures_by_kind import (
    sample_figure as sample_figure,
)
from .film_strips import (
    animation as animation,
    film_strip as film_strip,
)
from .histogram_plots import (
    histograms as histograms,
    staircase as staircase,
)
from .image_grids import (
    CELL as CELL,
    image_grid as image_grid,
    picture as picture,
    side_by_side as side_by_side,
    to_pixels as to_pixels,
)
from .line_plots import (
    lines as lines,
)
from .pair_plots import (
    named_columns as named_columns,
    pairs as pairs,
)
from .pictures_by_kind import (
    comparison as comparison,
    item_grid as item_grid,
    pictured_items as pictured_items,
    sample_pictures as sample_pictures,
)
from .png_encoding import (
    figure_png as figure_png,
    png as png,
)
from .scatter_plot import (
    scatter as scatter,
)
from .volume_slices import (
    slices as slices,
)
