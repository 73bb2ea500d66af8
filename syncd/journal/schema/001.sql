-- Facts about this node: its id, which repository it has seen at a remote.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A draft collects files before it is logged; `job` is set when it became one.
CREATE TABLE drafts (
  draft TEXT PRIMARY KEY,
  touched REAL NOT NULL,
  job TEXT
) WITHOUT ROWID;

-- The spools in use: where they are and which directory that was; gone at restart means their pins are lost.
CREATE TABLE spools (
  path BLOB PRIMARY KEY,
  dev INTEGER NOT NULL,
  ino INTEGER NOT NULL
) WITHOUT ROWID;

-- One pinned file: where its promised bytes are and what they looked like when they were promised.
CREATE TABLE pins (
  pin INTEGER PRIMARY KEY,
  draft TEXT NOT NULL,
  way TEXT NOT NULL,             -- reflink | lease | copy | blob | none
  place BLOB NOT NULL,           -- path of the file that holds the bytes
  offset INTEGER NOT NULL DEFAULT 0,
  start INTEGER NOT NULL DEFAULT 0, -- bytes before it were stored when the file was rescued: the place does not hold them
  size INTEGER NOT NULL,
  dev INTEGER NOT NULL,          -- of the source, at the pin
  ino INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  source BLOB NOT NULL,          -- the path the caller named, for messages
  boot TEXT NOT NULL,            -- boot_id when pinned
  synced INTEGER NOT NULL DEFAULT 0,
  lost TEXT NOT NULL DEFAULT ''  -- why the bytes can no longer be vouched for; empty: they can
);
CREATE INDEX pins_by_draft ON pins (draft);

-- The entries of a draft, and of the job it became.
CREATE TABLE files (
  draft TEXT NOT NULL,
  name BLOB NOT NULL,
  type TEXT NOT NULL,            -- file | symlink | dir
  mode INTEGER NOT NULL,
  size INTEGER NOT NULL,
  target BLOB NOT NULL DEFAULT x'',
  pin INTEGER,
  PRIMARY KEY (draft, name)
) WITHOUT ROWID;

-- Chunks of a job's files whose packs are stored: what a restart need not read again.
CREATE TABLE chunks (
  draft TEXT NOT NULL,
  name BLOB NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (draft, name, offset)
) WITHOUT ROWID;

-- Where chunks are in a repository, as far as this node knows. A cache: a wrong row costs a re-upload, never data.
CREATE TABLE known_chunks (
  repo TEXT NOT NULL,
  hash BLOB NOT NULL,
  pack BLOB NOT NULL,
  frame INTEGER NOT NULL,
  length INTEGER NOT NULL,
  PRIMARY KEY (repo, hash)
) WITHOUT ROWID;

CREATE INDEX known_chunks_by_pack ON known_chunks (repo, pack);

-- Packs whose chunks are all in known_chunks.
CREATE TABLE known_packs (
  repo TEXT NOT NULL,
  pack BLOB NOT NULL,
  size INTEGER NOT NULL,
  PRIMARY KEY (repo, pack)
) WITHOUT ROWID;

-- Packs this node has stored.
CREATE TABLE packs (
  repo TEXT NOT NULL,
  pack BLOB NOT NULL,
  job TEXT NOT NULL,
  size INTEGER NOT NULL,
  PRIMARY KEY (repo, pack)
) WITHOUT ROWID;

-- Manifests of jobs whose bytes are all stored and whose log entry is still to be written.
CREATE TABLE prepared (
  job TEXT PRIMARY KEY,
  manifest TEXT NOT NULL,
  manifest_hash BLOB NOT NULL,
  manifest_size INTEGER NOT NULL,
  digest BLOB NOT NULL,
  entries INTEGER NOT NULL,
  files INTEGER NOT NULL,
  size INTEGER NOT NULL
) WITHOUT ROWID;

-- Log entries seen: replay without fetching, and proof when a log is shortened or forked.
CREATE TABLE logs (
  repo TEXT NOT NULL,
  log TEXT NOT NULL,
  slot INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (repo, log, slot)
) WITHOUT ROWID;

-- One piece of work. `spec` is what was asked, `result` what came of it, both msgpack; the
-- transaction id in the remote is in the `spec`.
CREATE TABLE jobs (
  job TEXT PRIMARY KEY,
  kind TEXT NOT NULL,            -- upload | download
  state TEXT NOT NULL,
  resume TEXT NOT NULL DEFAULT '', -- the state to go back to after waiting
  repo TEXT NOT NULL,
  draft TEXT UNIQUE,
  project TEXT NOT NULL,
  name TEXT NOT NULL,
  spec BLOB NOT NULL,
  result BLOB,
  error BLOB,
  attempt INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL,
  updated REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX jobs_by_artifact ON jobs (project, name);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_age ON jobs (created, job);

-- Watched directories, and the sub-directories already turned into versions.
CREATE TABLE watches (
  directory BLOB PRIMARY KEY,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  project TEXT NOT NULL,
  settle REAL NOT NULL,
  done_marker TEXT NOT NULL,
  created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE taken (
  directory BLOB NOT NULL,
  path BLOB NOT NULL,            -- name of the sub-directory
  signature BLOB NOT NULL,       -- of what was seen when it was taken
  job TEXT NOT NULL,
  proof TEXT NOT NULL,           -- marker | leases | unproven
  at REAL NOT NULL,
  PRIMARY KEY (directory, path, signature)
) WITHOUT ROWID;

-- Versions that runs have used through this daemon: what their own versions are said to be made from.
CREATE TABLE run_inputs (
  project TEXT NOT NULL,
  run TEXT NOT NULL,
  input TEXT NOT NULL,           -- project/name:vN
  at REAL NOT NULL,
  PRIMARY KEY (project, run, input)
) WITHOUT ROWID;
