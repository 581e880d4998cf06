"""A command in one file. Installed as a package, it is `sdekit acme-processes`."""

from sdekit import hookimpl


def processes():
    """Print the names of all processes."""
    from sdekit.registry import component_names

    print("\n".join(component_names("sde")))


@hookimpl
def sdekit_commands(app):
    app.command("acme-processes")(processes)
