from .common.report import (
    Check as Check,
    Finding as Finding,
    NotConforming as NotConforming,
    Report as Report,
    Result as Result,
    at_most as at_most,
    same as same,
    show as show,
    skip as skip,
)
from .component_checks.guidance_checks import Trial as Trial
from .suite import (
    BY_KIND as BY_KIND,
    checks as checks,
    checks_of as checks_of,
    find as find,
    run as run,
    verify as verify,
)
