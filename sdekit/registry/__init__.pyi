from .component_options import (
    option_meanings as option_meanings,
    parameters as parameters,
    unknown_name as unknown_name,
)
from .discovery import (
    KINDS as KINDS,
    Entry as Entry,
    Registry as Registry,
    build as build,
    complete_options as complete_options,
    component_names as component_names,
    find_component as find_component,
    forget_plugin_files as forget_plugin_files,
    load_plugin_file as load_plugin_file,
    load_plugins as load_plugins,
    plugin_files as plugin_files,
    resolve as resolve,
)
from .hookspecs import Target as Target, Targets as Targets
