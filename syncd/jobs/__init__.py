"""A job's life, pure: which state it is in, what may happen to it there, and what is to be done next.

`states` holds the words (states, events, instructions), `machine` the table and the one function that reads it,
`backoff` how long to wait before another try. Effects are returned as instructions, never done here: the engine
journals the new state first and then carries the instruction out, so a crash between the two repeats an instruction
and never skips one; but what a cancelled download left is removed first, so that a crash leaves it running. Every
instruction may therefore be carried out twice.
"""
