"""Options of the command line: parsing and conversion, and the options that several commands share."""
