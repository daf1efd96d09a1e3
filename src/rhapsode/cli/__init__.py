"""The command line: `main` dispatches to one module a command, which is imported only then."""
