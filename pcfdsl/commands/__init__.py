"""What a person types: a module per job, which parses the arguments, calls a library function and returns its summary.

A module imports what its job needs only when it runs, so that the list of commands is quick and free of torch.
"""
