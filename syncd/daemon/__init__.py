"""The composition root: settings in, objects built and joined, one task group, signals, readiness, end.

`serve` is the life of the process, `compose` builds every room's object and hands each what it may touch; `lock`,
`listen` and `notify` are the process's manners towards the system. Nothing here decides anything about data.
"""
