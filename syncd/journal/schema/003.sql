-- The newest collection epoch that was read before a job's packs and manifest were chosen.
ALTER TABLE prepared ADD COLUMN gc_seen INTEGER NOT NULL DEFAULT 0;
