from .component_parameters import (
    argument_entries as argument_entries,
    option_meanings as option_meanings,
    parameters as parameters,
    unknown_name as unknown_name,
)
from .discovery import (
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
    with_data_std as with_data_std,
)
from .foreign_names import equivalent as equivalent
from .foreign_options import same_option as same_option, unknown_option as unknown_option
from .hookspecs import BUILT_IN as BUILT_IN, GROUP as GROUP, Target as Target, Targets as Targets
from .kinds import KINDS as KINDS, kind_name as kind_name
from .option_text import (
    OptionText as OptionText,
    component_options as component_options,
    convert_options as convert_options,
    describe_type as describe_type,
    option_name as option_name,
    parse_assignments as parse_assignments,
    parse_component as parse_component,
    type_name as type_name,
)
