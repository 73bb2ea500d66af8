"""The daemon's own command line: serve, init, doctor, config. What is done with artifacts is `syncctl`, in the client.

One file a verb, click for the arguments; a verb prints and calls, the work is below. Data goes to stdout, everything
else to stderr; errors are three lines (what, why, what to do next) and the exit code is the table both programs share.
"""
