from .component_options import (
    FROZEN as FROZEN,
    configuration_fault as configuration_fault,
    parameters as parameters,
    unknown_name as unknown_name,
)
from .discovery import (
    GROUP as GROUP,
    KINDS as KINDS,
    Entry as Entry,
    Registry as Registry,
    Source as Source,
    build as build,
    complete_options as complete_options,
    component_names as component_names,
    find_component as find_component,
    forget_plugin_files as forget_plugin_files,
    load_plugin_file as load_plugin_file,
    plugin_files as plugin_files,
    registry as registry,
    resolve as resolve,
)
from .hookspecs import (
    Target as Target,
    Targets as Targets,
    hookspec as hookspec,
    sdekit_backends as sdekit_backends,
    sdekit_commands as sdekit_commands,
    sdekit_guidances as sdekit_guidances,
    sdekit_loaders as sdekit_loaders,
    sdekit_metrics as sdekit_metrics,
    sdekit_restorers as sdekit_restorers,
    sdekit_samplers as sdekit_samplers,
)
