"""Every byte in the bucket, and nothing but bytes: no I/O, no clock, no chance. docs/FORMAT.md is its other half.

keys       names of objects: the only place where a key is built or read
digest     the one hash, and what it is taken of
chunker    where a file is cut; `_cut` the same in C
codec      how a chunk's bytes are stored: as they are, zstd, zeros
pack       chunks, framed and indexed, in objects of some MiB
entries    one path of a version, and what of it may be believed
paging     where a manifest's pages end
manifest   a version: pages of entries
builder    entries -> pages -> manifest, for writers
restore    entry -> chunks, for readers
log        what happened: one sealed entry a slot
repo       repo.json
seal       magic, format number, trailing hash: the envelope of the small ones

Two laws. *What is decoded is hostile*: any input gives a value whose grammar, bounds, totals and hashes hold, or
`errors.Corrupt`, within memory bounded by documented caps. *What is encoded is for ever*: equal values are equal
bytes, encoders refuse what decoders would, and tests/golden/ holds what was once written.
"""
