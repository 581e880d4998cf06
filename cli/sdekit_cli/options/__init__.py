"""Options of the command line: their parsing, their types, and the options that several commands share."""
