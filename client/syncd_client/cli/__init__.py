"""`syncctl`: what people and scripts type. Prints and asks; every decision is the daemon's.

`parser` is the whole grammar and imports nothing else, so help is instant; `main` runs one verb and turns what goes
wrong into three lines and an exit code. A verb is a function `(args, console) -> exit code` in the file of its group;
`console` is all it knows of the terminal and of the socket, `render` how answers look to people and as JSON.

Data goes to stdout, everything else to stderr. File names are bytes: people see undecodable ones with backslash
escapes; in JSON they are text in which such bytes are lone surrogates (as Python's os.fsdecode makes them), beside a
field `<name>_hex` with the exact bytes.
"""
