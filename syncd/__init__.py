"""syncd: the background uploader for machine-learning artifacts. The map, top to bottom; imports only go down.

commands      the daemon's own command line: serve, init, check, doctor, config
daemon        composition root: settings -> objects -> one TaskGroup -> signals, readiness, drain
settings      file + environment -> frozen Settings
server | web  door 1: the unix socket (msgpack) | door 2: HTTP on loopback (page, metrics, health)
service       the verbs a person could say
engine        runs jobs: asks jobs.machine what next, starts the flow, journals the outcome
mirror        a second copy of the repository, and copies of versions elsewhere
check         is everything in the remote there and right; mending it
watch | upload | download | collect   the flows; the last deletes what nothing needs
pin           the promise that logged bytes do not change
repo | journal   what the bucket means | what this node promised
store         bytes under names
disk | sockets   durable verbs on local files | unix sockets of our own
lanes | budget   the only door to threads | the bytes all flows may hold at once
format | jobs    pure: every byte in the bucket | a job's life as a table
events, model, clock, errors, meter   what everybody may know
"""

__version__ = "0.1.0"
